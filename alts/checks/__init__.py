"""Pure judgement of snapshots and file contents. Nothing here reaches a machine.

Imports alts.package_managers.base, alts.core and alts.shared.
"""
