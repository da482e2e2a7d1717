"""The lock satisfies the requirement files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.checkout import ROOT

REQUIREMENTS = ROOT / "requirements"
LOCK = REQUIREMENTS / "lock.txt"


def _lines(path: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def locked() -> dict[str, str]:
    """Return versions by name."""
    pairs = (line.split("==") for line in _lines(LOCK))
    return {str(canonicalize_name(name)): version for name, version in pairs}


@pytest.mark.parametrize(
    "path", [path for path in sorted(REQUIREMENTS.glob("*.txt")) if path != LOCK], ids=lambda path: path.name
)
def test_the_lock_has_what_is_required(path: Path, locked: dict[str, str]) -> None:
    for line in _lines(path):
        if line.startswith("-r "):
            assert (path.parent / line.removeprefix("-r ")).is_file()
            continue
        requirement = Requirement(line)
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name}: run make lock"
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}: run make lock"


def test_the_lock_names_versions_and_no_places() -> None:
    assert [line for line in _lines(LOCK) if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
