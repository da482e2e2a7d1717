"""Pure judgement of what was captured on a machine; nothing here reaches one.

Imports alts.package_managers.base, alts.core and alts.shared.
"""
