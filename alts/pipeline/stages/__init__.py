"""The stages of alts.pipeline.plans, one file each.

Imports the same rooms as alts.pipeline.
"""
