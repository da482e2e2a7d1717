"""The scheduler's own threads: relay, reconciler, stuck tasks.

Imports scheduler.ledger and alts.shared; no HTTP.
"""
