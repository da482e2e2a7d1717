"""The request for a test, validated and immutable."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from alts.shared.bounds import AtMost
from alts.shared.models.distributions import DISTRIBUTIONS, Family
from alts.shared.models.platform import Platform
from alts.shared.models.repository import Repository
from alts.shared.models.runner_names import RunnerType

PlanName = Literal["standard", "full"]
Architecture = Literal["x86_64", "i686", "amd64", "aarch64", "arm64"]

# Debian Policy 5.6.1 (Source) and 5.6.12 (Version). A colon only ends the epoch: dpkg allows more, but no archive does.
_DEB_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+\Z")
_DEB_VERSION = re.compile(r"(?:[0-9]{1,9}:)?[0-9][A-Za-z0-9.+~-]*\Z")

# rpm accepts more (rpm-version(7), rpm's spec syntax). These characters are allowed by distributions' guidelines.
_RPM_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*\Z")
_RPM_VERSION = re.compile(r"(?:[0-9]{1,9}:)?[A-Za-z0-9][A-Za-z0-9._+~^]*(?:-[A-Za-z0-9][A-Za-z0-9._+~^]*)?\Z")


def _version_text(value: Any) -> Any:
    """Return 12, 12.0 and "12" as the same text: JSON has only one type of number."""
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else value


class TaskSpec(BaseModel):
    """A package to test, on one distribution and architecture, with additional repositories."""

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
    repositories: Annotated[tuple[Repository, ...], AtMost(20)] = ()
    package_name: str = Field(max_length=200)
    package_version: str | None = Field(default=None, max_length=200)
    plan: PlanName = "standard"
    """The plan "full" also reinstalls, upgrades from the distribution's version, and installs again after a purge."""
    refresh: bool = False
    """Fetch the distribution's package lists for this test, also if the machine's image has recent ones."""

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
        if _family(info) is Family.RPM and not _RPM_NAME.match(name):
            raise ValueError(
                "not an RPM package name: letters, digits and . _ + - are accepted, a letter, digit or _ first"
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
        if version is not None and _family(info) is Family.RPM and not _RPM_VERSION.match(version):
            raise ValueError("not an RPM version: [epoch:]version[-release] of letters, digits and . _ + ~ ^")
        return version

    @field_validator("repositories")
    @classmethod
    def _dnf_takes_base_urls(cls, repositories: tuple[Repository, ...], info: ValidationInfo) -> tuple[Repository, ...]:
        if _family(info) is Family.RPM:
            for repository in repositories:
                if repository.url != f"{repository.source[0]} ./":
                    raise ValueError("a dnf repository is a plain base URL, without a suite or options of apt's")
        return repositories

    @field_validator("repositories")
    @classmethod
    def _priorities_can_be_told_apart(
        cls, repositories: tuple[Repository, ...], info: ValidationInfo
    ) -> tuple[Repository, ...]:
        if _family(info) is Family.DEB:
            # `host` parses the line: once per repository, not once per pair.
            seen: dict[str, int | None] = {}
            for repository in repositories:
                host = repository.host
                if seen.setdefault(host, repository.priority) != repository.priority:
                    raise ValueError(
                        f"two repositories on {host} have different priorities, but apt pins a whole "
                        "host (apt_preferences(5)): give both the same priority, or none"
                    )
        return repositories

    @property
    def platform(self) -> Platform:
        """The platform of the machine that the package is tested on."""
        return Platform(self.dist_name, self.dist_version, self.dist_arch)

    def asks_for(self, version: str) -> bool:
        """Tell whether the request means this full version. An RPM request may leave out epoch and release.

        "2.0" and "2.0-1" both mean "1:2.0-1"; "0:2.0-1" does not.
        """
        asked = self.package_version
        if asked is None or asked == version:
            return True
        if self.platform.family is not Family.RPM:
            return False
        if ":" not in asked:
            version = version.partition(":")[2] or version
        elif ":" not in version:
            version = f"0:{version}"
        return asked in (version, version.rpartition("-")[0])


def _family(info: ValidationInfo) -> Family | None:
    distribution = DISTRIBUTIONS.get(info.data.get("dist_name", ""))
    return distribution.family if distribution else None
