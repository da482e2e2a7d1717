"""Tokens and the keys that sign them.

Imports alts.shared.
"""
