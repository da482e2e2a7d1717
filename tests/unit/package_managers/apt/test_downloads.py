"""Whose fault a repository or a download is that apt complains about."""

from __future__ import annotations

import pytest

from alts.package_managers.apt.downloads import repository_findings
from alts.shared.models.report import Kind
from tests.support.builders import a_spec

REPOSITORY = "http://172.17.0.1:8000/debian"
OUTPUTS = {
    "said-twice": (
        f"W: GPG error: {REPOSITORY} ./ Release: The following signatures were invalid: BADSIG 01 x\n"
        f"E: The repository '{REPOSITORY} ./ Release' is not signed.\n",
        [Kind.SIGNATURE_INVALID],
    ),
    "debian-13": (
        f"W: OpenPGP signature verification failed: {REPOSITORY} ./ Release: Sub-process /usr/bin/sqv returned an "
        "error code (1), error message is: Missing key 01, which is needed to verify signature.\n"
        f"E: The repository '{REPOSITORY} ./ Release' is not signed.\n",
        [Kind.SIGNATURE_INVALID],
    ),
    "a-neighbour": (f"E: The repository '{REPOSITORY}0 ./ Release' is not signed.\n", [Kind.REPOSITORY_UNREACHABLE]),
    "the-distribution-s-own-host": (
        "E: Failed to fetch http://deb.debian.org/debian/pool/h.deb  Hash Sum mismatch\n",
        [Kind.REPOSITORY_UNREACHABLE],
    ),
    "its-own-host": (f"E: Failed to fetch {REPOSITORY}/pool/h.deb  Hash Sum mismatch\n", [Kind.CHECKSUM_MISMATCH]),
}


@pytest.mark.parametrize(("output", "kinds"), OUTPUTS.values(), ids=OUTPUTS)
def test_trouble_is_said_once_and_of_whom_it_is(output: str, kinds: list[Kind]) -> None:
    repositories = [{"url": REPOSITORY}, {"url": "http://deb.debian.org/debian bookworm-backports main"}]

    findings = repository_findings(a_spec(repositories=repositories), output)

    assert [finding.kind for finding in findings] == kinds


def test_what_apt_thinks_of_a_signature_is_no_matter_where_the_repository_is_trusted() -> None:
    said = f"{REPOSITORY} ./ Release: The following signatures couldn't be verified: NO_PUBKEY 01"
    spec = a_spec(repositories=[{"url": REPOSITORY, "trusted": True}])

    assert list(repository_findings(spec, f"W: GPG error: {said}\n")) == []
    assert [found.kind for found in repository_findings(spec, f"E: GPG error: {said}\n")] == [Kind.SIGNATURE_INVALID]


def test_the_address_that_a_name_had_this_time_is_no_evidence() -> None:
    output = "E: Failed to fetch http://m.example/x  503  Unavailable [IP: 192.0.2.7 80]\n"

    [finding] = repository_findings(a_spec(), output)

    assert finding.evidence == "E: Failed to fetch http://m.example/x  503  Unavailable"
