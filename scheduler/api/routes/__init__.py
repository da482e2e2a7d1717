"""The routes, one file for each kind of resource.

Imports scheduler.api and what that may import.
"""
