"""The package manager of each tool."""

from __future__ import annotations

from collections.abc import Mapping

from alts.package_managers.apt.manager import Apt
from alts.package_managers.base import PackageManager
from alts.package_managers.dnf.manager import Dnf, Dnf5
from alts.package_managers.dnf.yum import Yum
from alts.shared.models.distributions import Tool

PACKAGE_MANAGERS: Mapping[Tool, PackageManager] = {
    Tool.APT: Apt(),
    Tool.YUM: Yum(),
    Tool.DNF: Dnf(),
    Tool.DNF5: Dnf5(),
}
