"""The table of distributions, and that every part of the service handles all of its rows."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from alts.package_managers.registry import PACKAGE_MANAGERS
from alts.shared.config import RunnerConfig
from alts.shared.errors import UnsupportedPlatform
from alts.shared.models.distributions import (
    ARCHITECTURES,
    DISTRIBUTIONS,
    HOST_ARCHITECTURES,
    Distribution,
    Family,
    Release,
    Tool,
)
from alts.shared.models.routing import offered, queue_for
from tests.support.builders import a_spec

ROWS = [
    (distribution, release) for distribution in DISTRIBUTIONS.values() for release in distribution.releases.values()
]
RUNNERS = {"docker": RunnerConfig(architectures=("x86_64", "aarch64"))}
every_row = pytest.mark.parametrize(
    ("distribution", "release"), ROWS, ids=[f"{one.name}-{release.version}" for one, release in ROWS]
)


@every_row
def test_every_row_can_be_tested(distribution: Distribution, release: Release) -> None:
    assert release.architectures
    assert release.architectures <= set(ARCHITECTURES.values())
    assert release.tool in PACKAGE_MANAGERS
    assert (release.tool is Tool.APT) is (distribution.family is Family.DEB)
    for architecture in release.architectures:
        spec = a_spec(dist_name=distribution.name, dist_version=release.version, dist_arch=architecture)
        assert queue_for(spec, RUNNERS) == f"docker-{HOST_ARCHITECTURES[architecture]}-0"


@every_row
def test_only_what_nobody_publishes_has_no_image_in_a_registry(distribution: Distribution, release: Release) -> None:
    assert bool(release.image) is (distribution.name != "rpm-standin")
    assert "alma" not in release.image or distribution.name == "almalinux"


@pytest.mark.parametrize(
    ("name", "version", "architecture"),
    [
        ("ubuntu", "24.04", "i686"),
        ("almalinux", "9", "i686"),
        ("rpm-standin", "9", "aarch64"),
        ("centos", "7", "arm64"),
    ],
)
def test_an_unsupported_combination_is_refused_with_what_is_supported(
    name: str, version: str, architecture: str
) -> None:
    with pytest.raises(UnsupportedPlatform) as refusal:
        queue_for(a_spec(dist_name=name, dist_version=version, dist_arch=architecture), RUNNERS)

    assert f"{name}-{version} on x86_64" in str(refusal.value)
    assert "debian-12 on i686" in str(refusal.value)


def test_a_32_bit_userland_is_offered_by_hosts_that_can_run_it() -> None:
    assert "debian-12 on i686" in offered({"docker": RunnerConfig(architectures=("x86_64",))})
    assert "debian-12 on i686" not in offered({"docker": RunnerConfig(architectures=("aarch64",))})


@pytest.mark.parametrize("name", ["gtk3", "NetworkManager", "libstdc++", "python3.11", "_x", "R-core", "0ad"])
def test_rpm_names_are_accepted(name: str) -> None:
    assert a_spec(dist_name="fedora", dist_version="44", package_name=name).package_name == name


@pytest.mark.parametrize("name", ["", "-x", ".x", "a b", "a/b", "a*", "$(x)", "a;b", "a=1", "a\n", "@core", "a:b"])
def test_what_is_no_rpm_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        a_spec(dist_name="fedora", dist_version="44", package_name=name)


@pytest.mark.parametrize(
    ("asked", "version", "same"),
    [
        ("2.0-1.el9", "2.0-1.el9", True),
        ("2.0", "2.0-1.el9", True),
        ("2.0", "1:2.0-1.el9", True),
        ("2.0-1.el9", "1:2.0-1.el9", True),
        ("1:2.0", "1:2.0-1.el9", True),
        ("0:2.0", "2.0-1.el9", True),
        ("0:2.0", "1:2.0-1.el9", False),
        ("2", "2.0-1.el9", False),
        ("2.0-2.el9", "2.0-1.el9", False),
        ("1.0~rc1^git2", "1.0~rc1^git2-1", True),
    ],
)
def test_an_rpm_version_may_be_asked_for_without_its_epoch_and_release(asked: str, version: str, same: bool) -> None:
    spec = a_spec(dist_name="almalinux", dist_version="9", package_version=asked)

    assert spec.asks_for(version) is same


@pytest.mark.parametrize("version", ["", "-1", "1-", "1-2-3", "1 2", "1/2", "x:1", "1:2:3", "*", "1\n"])
def test_what_is_no_rpm_version_is_refused(version: str) -> None:
    with pytest.raises(ValidationError):
        a_spec(dist_name="almalinux", dist_version="9", package_version=version)


def test_a_dnf_repository_is_a_base_url() -> None:
    rpm = {"dist_name": "almalinux", "dist_version": "9"}

    assert a_spec(**rpm, repositories=[{"url": "https://example.org/el9/x86_64/"}]).repositories
    with pytest.raises(ValidationError, match="plain base URL"):
        a_spec(**rpm, repositories=[{"url": "deb https://example.org/debian bookworm main"}])
