"""The `alts` command.

Imports alts.embedded, alts.client and alts.shared.
"""
