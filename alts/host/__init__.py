"""Access to the worker's own machine: processes, locks, downloads, name resolution.

Imports alts.core and alts.shared.
"""
