"""Runs the stages of a plan on an instance and judges them. `plans` is the table to read first.

Imports alts.checks, alts.package_managers.base, alts.core and alts.shared.
"""
