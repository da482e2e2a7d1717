"""Facts that stages learn about the package and the machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from alts.checks.state.snapshot import Snapshot
from alts.package_managers.base import Candidate, Identity, InstalledPackage


@dataclass
class Observations:
    """Facts that a stage records for later stages and for the report."""

    package: InstalledPackage | None = None
    """The package under test as the first installation left it."""
    package_manager: str = ""
    """The version of the package manager: "2.6.1" of apt, "dnf 4.14.0"."""
    lists_fetched_at: datetime | None = None
    """When the distribution's lists were fetched that came with the image; None if the image's are not used."""
    indexes: dict[str, datetime] = field(default_factory=dict)
    """Address of a repository, or "distribution" → when its lists were fetched."""
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    """Moment ("before", "installed", ...; see alts.pipeline.stages.snapshot) → snapshot, in the order taken."""
    candidates: tuple[Candidate, ...] = ()
    """All versions that the repositories offer."""
    candidate: Candidate | None = None
    """The version under test; None until the stage "install" has chosen it."""
    already_installed: bool = False
    """The base image has the package in the very version under test."""
    identity: Identity | None = None
    declared: frozenset[str] = frozenset()
    """Users and groups that files of this installation declare for systemd-sysusers(8)."""
    closure: tuple[str, ...] = ()
    """All packages that the installation brought, the package under test included, for example "hello 2.10-3"."""
