"""The stages that alts.pipeline.plans names, one file each.

Imports what alts.pipeline may import.
"""
