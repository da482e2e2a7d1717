"""What a bootstrapped image is made of: all that decides its content, and a name made from that. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from alts.distributions import DEB_ARCHITECTURES, Family
from alts.shared.spec import TaskSpec
from alts.tools.mmdebstrap import FLAGS

# mmdebstrap's own default (mmdebstrap(1), "MIRROR"), which it completes with -updates and -security by itself.
_ARCHIVE: Mapping[str, str] = {"debian": "http://deb.debian.org/debian"}


@dataclass(frozen=True)
class Recipe:
    """A root folder of a Debian-like distribution."""

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
        """For whoever reads the log."""
        if self.mirror is None:
            return f"{self.codename} with its updates and security suites"
        return f"{self.codename} from {self.mirror} alone"

    @property
    def _tag(self) -> str:
        text = "\0".join((self.codename, self.architecture, self.mirror or "", self.finish, *FLAGS))
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return f"{self.version}-{self.architecture}{'-main' if self.mirror else ''}-{digest}"


def recipes_for(spec: TaskSpec, *, mirrors: Mapping[str, str], finish: str) -> tuple[Recipe, ...]:
    """How to make the image for a task, the best way first; none for a distribution that cannot be bootstrapped.

    `mirrors`: distribution → mirror, as configured. Without one, a second recipe makes do without updates and
    security: old releases lose those suites first.
    """
    if spec.family is not Family.DEB:
        return ()
    configured = mirrors.get(spec.dist_name)
    fallback = _ARCHIVE.get(spec.dist_name)
    sources = (configured,) if configured else (None, fallback) if fallback else (None,)
    return tuple(
        Recipe(
            distribution=spec.dist_name,
            version=spec.dist_version,
            codename=spec.release.codename,
            architecture=DEB_ARCHITECTURES[spec.dist_arch],
            mirror=mirror,
            finish=finish,
        )
        for mirror in sources
    )
