"""dnf, dnf5, yum and rpm.

Imports alts.package_managers.base, alts.core and alts.shared.
"""
