"""A machine with another architecture than the host's is genuine, and the report names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.embedded import EmbeddedService
from tests.support.stack import schedule, wait_for

pytestmark = pytest.mark.docker


def test_hello_passes_on_a_true_32_bit_userland(tmp_path: Path) -> None:
    with EmbeddedService(tmp_path) as service, service.client as client:
        report = wait_for(client, schedule(client, dist_arch="i686"), seconds=600)["result"]
        [log] = [service.read(stage["log"]) for stage in report["stages"] if stage["stage"] == "system_info"]

    assert report["outcome"] == "passed", report
    assert report["platform"] == "debian-12 on i686"
    assert report["package"]["architecture"] == "i386"
    assert (report["image"]["architecture"], report["image"]["emulated"]) == ("386", "no")
    # The output of `uname -a` and dpkg in the machine. The kernel is the host's, but must not report its architecture.
    assert "i686 GNU/Linux" in log
    assert "x86_64 GNU/Linux" not in log
    assert "\ni386\n" in log


def test_an_emulated_machine_is_refused_where_nobody_has_allowed_it(tmp_path: Path) -> None:
    both = {"docker": {"architectures": ["x86_64", "aarch64"]}}
    with EmbeddedService(tmp_path, runners=both) as service, service.client as client:
        result = wait_for(client, schedule(client, dist_arch="aarch64"))

    assert result["outcome"] == "errored"
    [finding] = [finding for stage in result["result"]["stages"] for finding in stage["findings"]]
    assert (finding["kind"], "allow_emulation: true" in finding["message"]) == ("image_unavailable", True)
