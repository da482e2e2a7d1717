"""The vocabulary of a test run: commands, their output, deadlines, instances, resource files.

Imports alts.shared.
"""
