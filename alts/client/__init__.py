"""The scheduler's API, as its clients see it.

Imports alts.shared.
"""
