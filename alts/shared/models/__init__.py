"""Data that scheduler, workers and clients exchange: task specs, reports, the ledger's operations, routing.

Imports alts.shared.
"""
