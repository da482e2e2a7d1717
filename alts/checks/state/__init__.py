"""Snapshots of a system and the differences between them.

Imports alts.package_managers.base, alts.core and alts.shared.
"""
