"""The service that takes requests, keeps the ledger and invites workers."""
