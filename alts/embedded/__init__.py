"""The whole service in one process: the only room that imports both sides.

Imports scheduler, alts.worker and alts.shared.
"""
