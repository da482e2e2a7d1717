"""Which tasks are accepted: platform, networks, quota, rate limit.

Imports scheduler.ledger and alts.shared; no HTTP.
"""
