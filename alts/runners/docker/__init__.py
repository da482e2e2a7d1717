"""Machines that are Docker containers.

Imports what alts.runners may import.
"""
