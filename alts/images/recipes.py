"""What an image made here is made of: all that decides its content, and a name made from that. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from alts.images.mmdebstrap import FLAGS
from alts.shared.models.distributions import DEB_ARCHITECTURES
from alts.shared.models.platform import Platform

# mmdebstrap's own default (mmdebstrap(1), "MIRROR"), which it completes with -updates and -security by itself.
_ARCHIVES: Mapping[str, str] = {"debian": "http://deb.debian.org/debian", "ubuntu": "http://archive.ubuntu.com/ubuntu"}
_UBUNTU_PORTS = "http://ports.ubuntu.com/ubuntu-ports"  # every architecture but amd64 and i386

KEYRINGS: Mapping[str, str] = {
    "debian": "debian-archive-keyring.gpg",
    "ubuntu": "ubuntu-archive-keyring.gpg",
}
"""Distribution → the file of keys, of the package of that name, with which its archive is verified."""


STANDIN = "rpm-standin"
"""The distribution that is made from another one's packages."""


@dataclass(frozen=True)
class Recipe:
    """A root folder of Debian, made by mmdebstrap."""

    distribution: str
    version: str
    codename: str
    architecture: str
    """In dpkg's words: "amd64", "i386", "arm64"."""
    mirror: str | None
    """Of the main suite alone; None for mmdebstrap's default, with the suites for updates and security."""
    finish: str
    """The shell script that finishes the folder, its path in $1."""

    @property
    def name(self) -> str:
        """Such as "debian-12-amd64-0123456789ab": a file's name, and what tells one recipe from another."""
        return f"{self.distribution}-{self._tag}"

    @property
    def reference(self) -> str:
        """The image's name: "alts/debian:12-amd64-0123456789ab"; "alts/debian:12-amd64-main-..." of one suite alone."""
        return f"alts/{self.distribution}:{self._tag}"

    @property
    def suites(self) -> str:
        """The suites, as text for the log."""
        if self.mirror is None:
            return f"{self.codename} with its updates and security suites"
        return f"{self.codename} from {self.mirror} alone"

    @property
    def _tag(self) -> str:
        text = "\0".join((self.codename, self.architecture, self.mirror or "", self.finish, *FLAGS))
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return f"{self.version}-{self.architecture}{'-main' if self.mirror else ''}-{digest}"


@dataclass(frozen=True)
class StandinRecipe:
    """A root folder of RPMs, made by a script in a container of a Debian image."""

    version: str
    base: str
    """The version of Debian whose image and packages it is made of."""
    architecture: str
    """In dpkg's words: "amd64"."""
    files: Mapping[str, bytes]
    """The script, build.sh, and what it needs beside it: path → content."""

    @property
    def name(self) -> str:
        """Such as "rpm-standin-9-amd64-0123456789ab"."""
        return f"{STANDIN}-{self._tag}"

    @property
    def reference(self) -> str:
        """Such as "alts/rpm-standin:9-amd64-0123456789ab"."""
        return f"alts/{STANDIN}:{self._tag}"

    @property
    def suites(self) -> str:
        """The suites, as text for the log."""
        return f"packages of Debian {self.base}, turned into RPMs"

    @property
    def _tag(self) -> str:
        digest = hashlib.sha256("\0".join((self.base, self.architecture)).encode())
        for path, content in sorted(self.files.items()):
            digest.update(f"\0{path}\0{len(content)}\0".encode() + content)
        return f"{self.version}-{self.architecture}-{digest.hexdigest()[:12]}"


AnyRecipe = Recipe | StandinRecipe


def recipes_for(platform: Platform, *, mirrors: Mapping[str, str], finish: str) -> tuple[Recipe, ...]:
    """How to make the image for a task, the best way first; none for a distribution that cannot be bootstrapped.

    `mirrors`: distribution → mirror, as configured. Without one, a second recipe makes do without updates and
    security: old releases lose those suites first.
    """
    fallback = _ARCHIVES.get(platform.dist_name)
    if fallback is None:
        return ()
    if platform.dist_name == "ubuntu" and platform.architecture == "aarch64":
        fallback = _UBUNTU_PORTS
    configured = mirrors.get(platform.dist_name)
    return tuple(
        Recipe(
            distribution=platform.dist_name,
            version=platform.dist_version,
            codename=platform.release.codename,
            architecture=DEB_ARCHITECTURES[platform.dist_arch],
            mirror=mirror,
            finish=finish,
        )
        for mirror in ((configured,) if configured else (None, fallback))
    )
