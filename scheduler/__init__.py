"""The service that accepts requests, keeps the ledger and invites workers."""
