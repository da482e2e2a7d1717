"""The plans: tables of stages. Read this first.

A plan runs from top to bottom on one machine. A stage runs if the stages that it `needs` have passed and no earlier
stage was cancelled or ended through a fault of ours; else it is skipped, and the result says why. Two columns say whose
fault it is: `overrun` if the stage exceeds its timeout, `failing` if the package breaks the machine and nothing says
how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from alts.pipeline.stage import Stage
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

# The first stage's time and log include Terraform, Ansible, and the bootstrap of a base image if one must be made.
_GETTING_THERE: tuple[Stage, ...] = (
    Stage("prepare", prepare, timeout=900, overrun=Kind.PROVISION_FAILED, failing=Kind.INTERNAL),
    Stage("system_info", system_info, timeout=60, overrun=Kind.INTERNAL, failing=Kind.INTERNAL, needs=("prepare",)),
    Stage("snapshot", snapshot, timeout=60, overrun=Kind.INTERNAL, failing=Kind.INTERNAL, needs=("prepare",)),
)

_INSTALLING: tuple[Stage, ...] = (
    Stage("install", install, timeout=900, overrun=Kind.TIMEOUT, failing=Kind.INSTALL_FAILED, needs=("snapshot",)),
    Stage(
        "right_package",
        right_package,
        timeout=60,
        overrun=Kind.INTERNAL,
        failing=Kind.INSTALL_FAILED,
        needs=("install",),
    ),
    Stage("integrity", integrity, timeout=300, overrun=Kind.INTERNAL, failing=Kind.INSTALL_FAILED, needs=("install",)),
)

_REINSTALLING: tuple[Stage, ...] = (
    Stage("reinstall", reinstall, timeout=900, overrun=Kind.TIMEOUT, failing=Kind.INSTALL_FAILED, needs=("install",)),
)

_REMOVING: tuple[Stage, ...] = (
    Stage("remove", remove, timeout=600, overrun=Kind.TIMEOUT, failing=Kind.REMOVAL_FAILED, needs=("install",)),
    Stage("purge", purge, timeout=600, overrun=Kind.TIMEOUT, failing=Kind.REMOVAL_FAILED, needs=("remove",)),
    # It removes the dependencies too, so a command that hangs may be the fault of one of them.
    Stage(
        "leftovers",
        leftovers,
        timeout=900,
        overrun=Kind.INTERNAL,
        failing=Kind.REMOVAL_FAILED,
        needs=("snapshot", "remove"),
        unless_failed=("purge",),
    ),
)

_COMING_BACK: tuple[Stage, ...] = (
    Stage(
        "install_again",
        install_again,
        timeout=900,
        overrun=Kind.TIMEOUT,
        failing=Kind.INSTALL_FAILED,
        needs=("remove",),
        unless_failed=("purge",),
    ),
    Stage(
        "upgrade", upgrade, timeout=1800, overrun=Kind.TIMEOUT, failing=Kind.INSTALL_FAILED, needs=("install_again",)
    ),
)

STANDARD = (*_GETTING_THERE, *_INSTALLING, *_REMOVING)
FULL = (*_GETTING_THERE, *_INSTALLING, *_REINSTALLING, *_REMOVING, *_COMING_BACK)

PLANS: Mapping[str, tuple[Stage, ...]] = {"standard": STANDARD, "full": FULL}
"""Name → stages. A request names one as its `plan`."""


def with_timeouts(
    plans: Mapping[str, tuple[Stage, ...]], seconds: Mapping[str, float]
) -> Mapping[str, tuple[Stage, ...]]:
    """Return the plans with other timeouts for the stages named in `seconds`.

    Raises ConfigurationError for a stage that no plan has.
    """
    names = {stage.name for plan in plans.values() for stage in plan}
    for name in seconds:
        if name not in names:
            raise ConfigurationError(
                f"stage_timeouts.{name}",
                "no plan has a stage of this name",
                resolution=f"choose one of: {', '.join(sorted(names))}",
            )
    return {
        plan: tuple(replace(stage, timeout=seconds.get(stage.name, stage.timeout)) for stage in stages)
        for plan, stages in plans.items()
    }
