"""The plans, their stages, and the verdict on each stage. `plans` is the table to read first.

Imports alts.checks, alts.package_managers.base, alts.core and alts.shared.
"""
