"""What a removed package has left behind.

Imports alts.checks.state, alts.core and alts.shared.
"""
