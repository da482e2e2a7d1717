"""Where artifacts are kept: S3, or a folder.

Imports alts.shared.
"""
