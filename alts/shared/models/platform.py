"""The platform of a machine: a release of a distribution, on an architecture."""

from __future__ import annotations

from dataclasses import dataclass

from alts.shared.models.distributions import ARCHITECTURES, DISTRIBUTIONS, HOST_ARCHITECTURES, Family, Release


@dataclass(frozen=True)
class Platform:
    """A row of the table of distributions (alts.shared.models.distributions), or the properties raise KeyError."""

    dist_name: str
    dist_version: str
    dist_arch: str
    """As a request spells it, e.g. "amd64"."""

    def __str__(self) -> str:
        """Return its name in reports, e.g. "debian-12 on x86_64"."""
        return f"{self.dist_name}-{self.dist_version} on {self.dist_arch}"

    @property
    def family(self) -> Family:
        return DISTRIBUTIONS[self.dist_name].family

    @property
    def release(self) -> Release:
        return DISTRIBUTIONS[self.dist_name].releases[self.dist_version]

    @property
    def architecture(self) -> str:
        """The userland by its one name: "x86_64", "i686" or "aarch64"."""
        return ARCHITECTURES[self.dist_arch]

    @property
    def host_architecture(self) -> str:
        """The architecture of a host that runs the machine: "x86_64" or "aarch64"."""
        return HOST_ARCHITECTURES[self.dist_arch]
