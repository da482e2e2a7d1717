"""What scheduler, workers and clients tell each other: task specs, reports, the ledger's operations, routing.

Imports alts.shared.
"""
