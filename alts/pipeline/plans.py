"""The tables of stages: read this first.

A plan runs from top to bottom on one machine. A stage runs when those that it `needs` have passed and nothing of ours
has failed; else it is skipped, saying so. `overrun` says whose fault it is when a stage's time is up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from alts.pipeline.context import Stage
from alts.pipeline.stages.install import install
from alts.pipeline.stages.install_again import install_again
from alts.pipeline.stages.integrity import integrity
from alts.pipeline.stages.leftovers import leftovers
from alts.pipeline.stages.prepare import prepare
from alts.pipeline.stages.purge import purge
from alts.pipeline.stages.reinstall import reinstall
from alts.pipeline.stages.remove import remove
from alts.pipeline.stages.right_package import right_package
from alts.pipeline.stages.snapshot import snapshot
from alts.pipeline.stages.system_info import system_info
from alts.pipeline.stages.upgrade import upgrade
from alts.shared.errors import ConfigurationError
from alts.shared.models.report import Kind

# The first stage's time and log include what terraform and ansible do, and a base image that must be bootstrapped.
_GETTING_THERE: tuple[Stage, ...] = (
    Stage("prepare", prepare, timeout=900, overrun=Kind.PROVISION_FAILED),
    Stage("system_info", system_info, timeout=60, overrun=Kind.INTERNAL, needs=("prepare",)),
    Stage("snapshot", snapshot, timeout=60, overrun=Kind.INTERNAL, needs=("prepare",)),
)

_INSTALLING: tuple[Stage, ...] = (
    Stage("install", install, timeout=900, overrun=Kind.TIMEOUT, needs=("snapshot",)),
    Stage("right_package", right_package, timeout=60, overrun=Kind.INTERNAL, needs=("install",)),
    Stage("integrity", integrity, timeout=300, overrun=Kind.INTERNAL, needs=("install",)),
)

_REMOVING: tuple[Stage, ...] = (
    Stage("remove", remove, timeout=600, overrun=Kind.TIMEOUT, needs=("install",)),
    Stage("purge", purge, timeout=600, overrun=Kind.TIMEOUT, needs=("remove",)),
    # It takes the dependencies away too, so whatever hangs here may be theirs.
    Stage(
        "leftovers",
        leftovers,
        timeout=900,
        overrun=Kind.INTERNAL,
        needs=("snapshot", "remove"),
        unless_failed=("purge",),
    ),
)

STANDARD = (*_GETTING_THERE, *_INSTALLING, *_REMOVING)

FULL = (
    *_GETTING_THERE,
    *_INSTALLING,
    Stage("reinstall", reinstall, timeout=900, overrun=Kind.TIMEOUT, needs=("install",)),
    *_REMOVING,
    Stage(
        "install_again",
        install_again,
        timeout=900,
        overrun=Kind.TIMEOUT,
        needs=("remove",),
        unless_failed=("purge",),
    ),
    Stage("upgrade", upgrade, timeout=1800, overrun=Kind.TIMEOUT, needs=("install_again",)),
)

PLANS: Mapping[str, tuple[Stage, ...]] = {"standard": STANDARD, "full": FULL}
"""What a request may ask for as its `plan`."""


def with_timeouts(
    plans: Mapping[str, tuple[Stage, ...]], seconds: Mapping[str, float]
) -> Mapping[str, tuple[Stage, ...]]:
    """The plans with other deadlines for the stages named. Raises ConfigurationError for a stage that no plan has."""
    names = {stage.name for plan in plans.values() for stage in plan}
    for name in seconds:
        if name not in names:
            raise ConfigurationError(
                f"stage_timeouts.{name}", "there is no such stage", resolution=f"choose of: {', '.join(sorted(names))}"
            )
    return {
        plan: tuple(replace(stage, timeout=seconds.get(stage.name, stage.timeout)) for stage in stages)
        for plan, stages in plans.items()
    }
