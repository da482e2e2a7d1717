"""Package managers: argv builders and output readers, pure."""

from __future__ import annotations

from collections.abc import Mapping

from alts.distributions import Family
from alts.packages.apt import Apt
from alts.packages.base import PackageManager

PACKAGE_MANAGERS: Mapping[Family, PackageManager] = {Family.DEB: Apt()}
