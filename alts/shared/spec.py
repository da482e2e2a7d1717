"""What a caller asks for: one validated, immutable request."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from alts.distributions import DISTRIBUTIONS, HOST_ARCHITECTURES, Family, Release

RunnerType = Literal["docker", "any"]
Architecture = Literal["x86_64", "i686", "amd64", "aarch64", "arm64"]

# Debian Policy 5.6.1 (Source) and 5.6.12 (Version). A colon is only the epoch's: dpkg allows more, no archive does.
_DEB_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+\Z")
_DEB_VERSION = re.compile(r"(?:[0-9]{1,9}:)?[0-9][A-Za-z0-9.+~-]*\Z")

# What apt's sources.list accepts as suite and component words, without its option brackets (sources.list(5)).
_SUITE = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._~+/-]*|\./)\Z")
_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/-]*\Z")
_URL = re.compile(r"https?://[A-Za-z0-9.:_\[\]-]+(?:/[A-Za-z0-9._~%+:@,=/-]*)?\Z")
_REPOSITORY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def _version_text(value: Any) -> Any:
    """12, 12.0 and "12" are the same version; JSON has only one kind of number."""
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else value


class Repository(BaseModel):
    """A repository to test the package from.

    `url` is what stands in sources.list(5): "http://host/debian bookworm main", the same behind "deb ", or a
    plain URL of a flat repository, which means the suite "./".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=2048)

    name: str | None = Field(default=None, max_length=100)
    url: str = Field(min_length=1)
    trusted: bool = False
    """Use the repository although nothing signs it (apt: [trusted=yes])."""

    @field_validator("name")
    @classmethod
    def _name_is_a_file_name(cls, name: str | None) -> str | None:
        if name is not None and not _REPOSITORY_NAME.match(name):
            raise ValueError("only letters, digits and . _ - are accepted, a letter or digit first")
        return name

    @field_validator("url")
    @classmethod
    def _url_is_a_source(cls, url: str) -> str:
        words = url.split(" ")
        if words[0] == "deb":
            words = words[1:]
        if not words or not _URL.match(words[0]):
            raise ValueError(
                "only http:// and https:// URLs without credentials or query are accepted, optionally followed "
                "by a suite and components, such as 'http://deb.debian.org/debian bookworm main'"
            )
        if "@" in urlsplit(words[0]).netloc:
            raise ValueError("credentials in a repository URL are not accepted")
        suite, components = (words[1], words[2:]) if len(words) > 1 else ("./", [])
        if not _SUITE.match(suite) or not all(_COMPONENT.match(component) for component in components):
            raise ValueError("suite and components may hold only letters, digits and . _ ~ + / -")
        if suite.endswith("/") == bool(components):
            raise ValueError("a suite needs at least one component; a flat repository's path ends with / and has none")
        return " ".join([words[0], suite, *components])

    @property
    def source(self) -> tuple[str, str, tuple[str, ...]]:
        """URL, suite and components, such as ("http://deb.debian.org/debian", "bookworm", ("main",))."""
        location, suite, *components = self.url.split(" ")
        return location, suite, tuple(components)


class TaskSpec(BaseModel):
    """One request: test this package on that distribution and architecture, with these repositories."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "runner_type": "docker",
                    "dist_name": "debian",
                    "dist_version": "12",
                    "dist_arch": "x86_64",
                    "repositories": [],
                    "package_name": "hello",
                }
            ]
        },
    )

    runner_type: RunnerType = "any"
    dist_name: str = Field(max_length=50)
    dist_version: Annotated[str, BeforeValidator(_version_text), Field(max_length=20)]
    dist_arch: Architecture
    repositories: tuple[Repository, ...] = Field(default=(), max_length=20)
    package_name: str = Field(max_length=200)
    package_version: str | None = Field(default=None, max_length=200)

    @field_validator("dist_name")
    @classmethod
    def _distribution_is_known(cls, name: str) -> str:
        if name not in DISTRIBUTIONS:
            raise ValueError(f"unknown distribution; choose one of: {', '.join(sorted(DISTRIBUTIONS))}")
        return name

    @field_validator("dist_version")
    @classmethod
    def _version_is_known(cls, version: str, info: ValidationInfo) -> str:
        distribution = DISTRIBUTIONS.get(info.data.get("dist_name", ""))
        if distribution and version not in distribution.releases:
            raise ValueError(
                f"unknown version of {distribution.name}; choose one of: {', '.join(distribution.releases)}"
            )
        return version

    @field_validator("package_name")
    @classmethod
    def _package_name_is_legal(cls, name: str, info: ValidationInfo) -> str:
        if _family(info) is Family.DEB and not _DEB_NAME.match(name):
            raise ValueError(
                "not a Debian package name: lower case letters, digits and + - . are accepted, at least two "
                "characters, a letter or digit first (Debian Policy 5.6.1)"
            )
        return name

    @field_validator("package_version")
    @classmethod
    def _package_version_is_legal(cls, version: str | None, info: ValidationInfo) -> str | None:
        if version is not None and _family(info) is Family.DEB and not _DEB_VERSION.match(version):
            raise ValueError(
                "not a Debian version: [epoch:]upstream[-revision] of letters, digits and . + - ~, "
                "a digit first (Debian Policy 5.6.12)"
            )
        return version

    @property
    def host_architecture(self) -> str:
        """The architecture of the host that runs this task: "x86_64" or "aarch64"."""
        return HOST_ARCHITECTURES[self.dist_arch]

    @property
    def family(self) -> Family:
        return DISTRIBUTIONS[self.dist_name].family

    @property
    def release(self) -> Release:
        return DISTRIBUTIONS[self.dist_name].releases[self.dist_version]

    @property
    def platform(self) -> str:
        """Such as "debian-12 on x86_64"."""
        return f"{self.dist_name}-{self.dist_version} on {self.dist_arch}"


def _family(info: ValidationInfo) -> Family | None:
    distribution = DISTRIBUTIONS.get(info.data.get("dist_name", ""))
    return distribution.family if distribution else None
