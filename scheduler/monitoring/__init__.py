"""Health of the parts.

Imports alts.shared.
"""
