"""Package managers: argv builders and output readers, pure."""

from __future__ import annotations

from collections.abc import Mapping

from alts.packages.apt import Apt
from alts.packages.base import PackageManager
from alts.packages.dnf import Dnf, Dnf5
from alts.packages.yum import Yum
from alts.shared.models.distributions import Tool

PACKAGE_MANAGERS: Mapping[Tool, PackageManager] = {
    Tool.APT: Apt(),
    Tool.YUM: Yum(),
    Tool.DNF: Dnf(),
    Tool.DNF5: Dnf5(),
}
