"""Clients of the scheduler's API.

Imports alts.shared.
"""
