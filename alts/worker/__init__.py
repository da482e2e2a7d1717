"""A worker: claims tasks, runs attempts, delivers reports and artifacts, removes what dead workers left behind.

Imports everything below it; not alts.cli, alts.embedded or the scheduler.
"""
