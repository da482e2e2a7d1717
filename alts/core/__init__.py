"""The vocabulary of a test run: commands and their output, deadlines, instances, resource files.

Imports alts.shared.
"""
