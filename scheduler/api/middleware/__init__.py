"""What every request meets before its route.

Imports scheduler.api and what that may import.
"""
