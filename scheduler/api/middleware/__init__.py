"""ASGI middleware that every request passes before its route.

Imports scheduler.api and what that may import.
"""
