"""The table of stages: read this first.

A plan runs from top to bottom on one machine. A stage runs when those that it `needs` have passed and nothing of ours
has failed; else it is skipped, saying so. `overrun` says whose fault it is when a stage's time is up.
"""

from __future__ import annotations

from alts.shared.report import Kind
from alts.stages.base import Stage
from alts.stages.install import install
from alts.stages.integrity import integrity
from alts.stages.prepare import prepare
from alts.stages.remove import remove
from alts.stages.system_info import system_info

# The first stage's time and log include what terraform and ansible do, and a base image that must be bootstrapped.
PLAN: tuple[Stage, ...] = (
    Stage("prepare", prepare, timeout=900, overrun=Kind.PROVISION_FAILED),
    Stage("system_info", system_info, timeout=60, overrun=Kind.INTERNAL, needs=("prepare",)),
    Stage("install", install, timeout=900, overrun=Kind.TIMEOUT, needs=("prepare",)),
    Stage("integrity", integrity, timeout=300, overrun=Kind.TIMEOUT, needs=("install",)),
    Stage("remove", remove, timeout=600, overrun=Kind.TIMEOUT, needs=("install",)),
)
