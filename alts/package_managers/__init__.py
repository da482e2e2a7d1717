"""Package managers: their commands as argv, with the readers of their output. Nothing here runs a command.

Imports alts.core and alts.shared.
"""
