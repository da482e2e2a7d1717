"""Leftovers of a removed package.

Imports alts.checks.state, alts.core and alts.shared.
"""
