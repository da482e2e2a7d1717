"""The REST API: routes, models, authentication, limits on requests.

Imports scheduler.admission, scheduler.ledger, scheduler.monitoring and alts.shared.
"""
