"""The whole service in one process: the only room that imports both scheduler and worker.

Imports scheduler, alts.worker, alts.runners and alts.shared.
"""
