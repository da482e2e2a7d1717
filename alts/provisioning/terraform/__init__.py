"""The terraform command.

Imports alts.host, alts.core and alts.shared.
"""
