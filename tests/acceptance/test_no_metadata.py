"""A mirror that serves a web page or endless data instead of metadata is never the package's fault."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.acceptance import STANDIN
from tests.support.deb_repository import build_deb, serving, write_index
from tests.support.mirror import Fault, Memory, mirror
from tests.support.plain_service import plain_service
from tests.support.stack import schedule, wait_for

pytestmark = pytest.mark.docker

Result = Mapping[str, Any]
PAGE = b"<!DOCTYPE html>\n<html><head><title>Log in</title></head><body></body></html>\n"

# Case → outcome, kinds of the findings, and a substring of the first message.
CASES: Mapping[str, tuple[str, list[str], str]] = {
    "deb-page": ("errored", ["repository_unreachable"], "its InRelease is an HTML page"),
    "deb-page-trusted": ("errored", ["repository_unreachable"], "its InRelease is an HTML page"),
    "deb-endless": ("errored", ["repository_unreachable"], "its InRelease is larger than 10 MB"),
    "deb-index-page": ("errored", ["repository_unreachable"], "its Packages is an HTML page"),
    "deb-index-of-a-wrong-hash": ("failed", ["checksum_mismatch"], "does not match the checksum in the index of"),
    "rpm-page": ("errored", ["repository_unreachable"], "does not serve package metadata"),
    "rpm-index-page": ("errored", ["repository_unreachable"], "-primary.xml.gz is an HTML page"),
    "rpm-index-of-a-wrong-hash": ("failed", ["checksum_mismatch"], "does not match its checksum"),
}


@pytest.fixture(scope="module")
def results(rpm_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Result]]:
    folder = tmp_path_factory.mktemp("pages")
    served = folder / "served"
    for name, content in (("page", PAGE), ("wrong-hash", b"Package: other\n")):
        _deb_repository(served / f"deb-{name}", content)
        _rpm_repository(rpm_corpus / "plain", served / f"rpm-{name}", content)
    with ExitStack() as stack:
        portal = stack.enter_context(mirror(served, Memory()))
        portal.break_down(Fault.PORTAL, machine=None, own_too=True)
        endless = stack.enter_context(mirror(served, Memory()))
        endless.break_down(Fault.ENDLESS, machine=None, own_too=True)
        url = stack.enter_context(serving(served))
        client = stack.enter_context(stack.enter_context(plain_service(folder)).client)
        repositories = {
            "deb-page": {"url": portal.url},
            "deb-page-trusted": {"url": portal.url, "trusted": True},
            "deb-endless": {"url": endless.url},
            "deb-index-page": {"url": f"{url}deb-page/", "trusted": True},
            "deb-index-of-a-wrong-hash": {"url": f"{url}deb-wrong-hash/", "trusted": True},
            "rpm-page": {"url": portal.url, "trusted": True},
            "rpm-index-page": {"url": f"{url}rpm-page/", "trusted": True},
            "rpm-index-of-a-wrong-hash": {"url": f"{url}rpm-wrong-hash/", "trusted": True},
        }
        tasks = {
            case: schedule(
                client, package_name="good", repositories=[one], **(STANDIN if case.startswith("rpm") else {})
            )
            for case, one in repositories.items()
        }
        yield {case: wait_for(client, task_id) for case, task_id in tasks.items()}


def _deb_repository(folder: Path, index: bytes) -> None:
    """Write a repository with a correct Release file and `index` in place of its Packages file."""
    folder.mkdir(parents=True)
    build_deb(folder, "good")
    write_index(folder)
    packages = (folder / "Packages").read_bytes()
    checksum = hashlib.sha256(packages).hexdigest()
    (folder / "Release").write_text(
        f"Suite: test\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {checksum} {len(packages)} Packages\n"
    )
    (folder / "Packages").write_bytes(index)


def _rpm_repository(right: Path, folder: Path, index: bytes) -> None:
    shutil.copytree(right, folder)
    [primary] = (folder / "repodata").glob("*-primary.xml.*")
    primary.write_bytes(index)


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_metadata_at_all_is_errored_and_said_so(results: Mapping[str, Result], case: str) -> None:
    result = results[case]

    outcome, kinds, words = CASES[case]
    findings = [finding for stage in result["result"]["stages"] for finding in stage["findings"]]
    assert (result["outcome"], [finding["kind"] for finding in findings]) == (outcome, kinds), findings
    assert words in findings[0]["message"]
    assert result["result"]["retryable"] == (outcome == "errored")
