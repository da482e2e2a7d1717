"""The state of all tasks, in SQL.

Imports alts.shared; neither HTTP nor Celery.
"""
