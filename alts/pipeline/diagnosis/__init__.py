"""Causes of a failure that the package manager does not name: a full disk, a kernel limit, a missing program.

Imports the same rooms as alts.pipeline.
"""
