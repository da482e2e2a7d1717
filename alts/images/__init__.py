"""Base images: recipes, where they come from, how they are made here.

Imports alts.host, alts.core and alts.shared.
"""
