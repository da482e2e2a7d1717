"""The terraform command and the provider that it is given.

Imports alts.host, alts.core and alts.shared.
"""
