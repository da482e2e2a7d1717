"""apt and dpkg.

Imports alts.package_managers.base, alts.core and alts.shared.
"""
