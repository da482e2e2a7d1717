"""Stores of artifacts: S3 or a local folder.

Imports alts.shared.
"""
