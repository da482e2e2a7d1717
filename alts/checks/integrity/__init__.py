"""Check that installed files can work: ELF libraries, interpreters, symbolic links.

Imports alts.checks.state, alts.core and alts.shared.
"""
