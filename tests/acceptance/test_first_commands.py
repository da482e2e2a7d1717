"""Run the README's first command on a clean clone with empty caches, and check its leftovers."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from alts.cli.submit import EXIT_CODES
from alts.pipeline.plans import STANDARD
from tests.support.checkout import ROOT
from tests.support.ports import answers, free_ports
from tests.support.stack import until

pytestmark = pytest.mark.docker

# Variables of a developer's shell must not reach the clone.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name not in ("ALTS_CONFIG", "MAKEFLAGS", "VIRTUAL_ENV")
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Copy the work tree, including uncommitted changes, without the files that git ignores."""
    folder = tmp_path / "clone"
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    for name in filter(None, names.split("\0")):
        source, target = ROOT / name, folder / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode)
    return folder


def make(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=clone,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_the_first_command_tests_a_package_and_says_the_verdict(clone: Path) -> None:
    port = f"PORT={free_ports(1)[0]}"

    passed = make(clone, "run", "ONCE=1", port)
    failed = make(clone, "run", "ONCE=1", port, "PACKAGE=no-such-package")

    assert passed.returncode == 0, passed.stdout
    assert "verdict: passed" in passed.stdout
    for stage in STANDARD:
        assert f"  {stage.name} " in passed.stdout
    # make itself always exits with 2 after a failure, and prints the program's exit code.
    assert failed.returncode != 0, failed.stdout
    assert f"Error {EXIT_CODES['failed']}" in failed.stdout
    assert "verdict: failed" in failed.stdout
    assert "no repository of this machine has a package named no-such-package" in failed.stdout


def test_the_service_goes_on_serving_until_it_is_interrupted(tmp_path: Path) -> None:
    [port] = free_ports(1)
    config = tmp_path / "embedded.yaml"
    config.write_text(_settings(tmp_path))
    # Its verdict comes soon. A package that passes is tested above.
    package = ["--package", "no-such-package"]
    arguments = [*package, "--config", str(config), "--port", str(port), "--log-file", str(tmp_path / "alts.log")]
    process = subprocess.Popen(
        [str(ROOT / ".venv/bin/alts"), "run", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    try:
        lines = list(until_told_how_to_stop(process))
        token = subprocess.run(
            [str(ROOT / ".venv/bin/alts"), "token", "--config", str(config)],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
        ).stdout.strip()
        assert any("verdict: failed" in line for line in lines), lines
        assert token.count(".") == 2
        assert answers(port)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
    until(lambda: not answers(port), seconds=5)


def until_told_how_to_stop(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if line.startswith("stop "):
            return


def _settings(folder: Path) -> str:
    settings: Mapping[str, str] = {
        "jwt_secret_file": f"{folder}/jwt_secret",
        "broker": "memory",
        "storage": "folder",
        "database_url": f"sqlite:///{folder}/ledger.sqlite",
        "storage_folder": f"{folder}/storage",
        "work_folder": f"{folder}/work",
        "cache_folder": str(ROOT / ".alts/cache"),
    }
    return "".join(f"{key}: {value}\n" for key, value in settings.items())
