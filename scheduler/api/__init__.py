"""The REST API: routes, models, authentication, the limits on requests.

Imports scheduler.admission, scheduler.ledger, scheduler.monitoring and alts.shared.
"""
