"""Recipes: the inputs that determine an image's content, and a name derived from them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from alts.images.mmdebstrap import FLAGS
from alts.shared.models.distributions import DEB_ARCHITECTURES
from alts.shared.models.platform import Platform

# mmdebstrap's own default (mmdebstrap(1), "MIRROR"). mmdebstrap adds the -updates and -security suites by itself.
_ARCHIVES: Mapping[str, str] = {"debian": "http://deb.debian.org/debian", "ubuntu": "http://archive.ubuntu.com/ubuntu"}
_UBUNTU_PORTS = "http://ports.ubuntu.com/ubuntu-ports"  # every architecture but amd64 and i386

KEYRINGS: Mapping[str, str] = {
    "debian": "debian-archive-keyring.gpg",
    "ubuntu": "ubuntu-archive-keyring.gpg",
}
"""Distribution → keyring file that verifies its archive. The package of the same name ships it."""


STANDIN = "rpm-standin"
"""The distribution built from the packages of another one."""


@dataclass(frozen=True)
class Recipe:
    """A root folder of Debian or Ubuntu, made by mmdebstrap."""

    distribution: str
    version: str
    codename: str
    architecture: str
    """dpkg's name: "amd64", "i386", "arm64"."""
    mirror: str | None
    """Mirror of the main suite alone. None: mmdebstrap's default, with the updates and security suites."""
    finish: str
    """Shell script that finishes the root folder. $1 is the folder's path."""

    @property
    def name(self) -> str:
        """Unique name of the recipe, used as a file name, e.g. "debian-12-amd64-0123456789ab"."""
        return f"{self.distribution}-{self._tag}"

    @property
    def reference(self) -> str:
        """The image's name: "alts/debian:12-amd64-0123456789ab", or "alts/debian:12-amd64-main-..." for one suite."""
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
    """The version of Debian that supplies the image and the packages."""
    architecture: str
    """dpkg's name: "amd64"."""
    files: Mapping[str, bytes]
    """Path → content of the script, build.sh, and of the files that it uses."""

    @property
    def name(self) -> str:
        """Unique name of the recipe, used as a file name, e.g. "rpm-standin-9-amd64-0123456789ab"."""
        return f"{STANDIN}-{self._tag}"

    @property
    def reference(self) -> str:
        """The image's name, e.g. "alts/rpm-standin:9-amd64-0123456789ab"."""
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
    """Return the recipes for a task's image, best first; empty if the distribution cannot be bootstrapped.

    `mirrors`: distribution → configured mirror. Without a mirror, a second recipe omits the updates and security
    suites, because old releases lose those first.
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
