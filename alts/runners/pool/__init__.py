"""Machines made ahead of the tasks that will use them. Any kind of runner can have a pool in front of it.

May import the rooms that alts.runners may import, and no kind of machine.
"""
