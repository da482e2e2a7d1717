"""Pure renderings of a report: JUnit, TAP, text.

Imports alts.shared.
"""
