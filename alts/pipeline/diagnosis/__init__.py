"""Why a command failed where the package is not to blame: a full disk, a kernel limit, a missing tool.

Imports what alts.pipeline may import.
"""
