"""Other systems for the same work, by their own commands: piuparts, autopkgtest, tmt, and a predecessor's sequence.

Each one starts from the same image, with the same proxy, and ends with the package tested and its machine gone. What
each one tests is its own: piuparts compares the file system before and after, autopkgtest and tmt run one command of
the package, the predecessor asks testinfra whether the package is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import PROXY_FILE, Contender, apt_proxy
from tests.support.debian_image import debian_image

_PATIENCE = 900.0
_RELEASE = "bookworm"
_MIRROR = "http://deb.debian.org/debian"
_IMAGE = "alts-bench:peers"
# A command that shows that the package works.
_SMOKE = {"hello": "hello", "jq": "jq --version", "nginx-light": "nginx -v"}


@dataclass(frozen=True)
class Peer:
    """A system, and what it needs on this host."""

    name: str
    programs: Sequence[str]
    how_to_get: str
    test: Callable[[Path, str], None]
    """Test the package of that name, with a folder of its own. Raises CalledProcessError if it does not pass."""


@contextmanager
def peers(folder: Path, *, proxy: str) -> Iterator[list[Contender]]:
    """Yield the peers that this host has. Says loudly which ones it lacks."""
    there = []
    for peer in PEERS:
        if missing := [program for program in peer.programs if shutil.which(program) is None]:
            print(f"SKIPPED: {peer.name}: {' and '.join(missing)} not found ({peer.how_to_get})", file=sys.stderr)
        else:
            there.append(peer)
    with _image(folder, proxy=proxy):
        yield [Contender(peer.name, _in_folder(folder, peer)) for peer in there]


def _in_folder(folder: Path, peer: Peer) -> Callable[[str], None]:
    def test(package: str) -> None:
        own = folder / f"{peer.name.split()[0]}-{uuid.uuid4().hex[:8]}"
        own.mkdir()
        peer.test(own, package)
        shutil.rmtree(own)

    return test


@contextmanager
def _image(folder: Path, *, proxy: str) -> Iterator[None]:
    """The base image with the proxy's address: the peers mount no files into their machines."""
    context = folder / "peers"
    context.mkdir()
    (context / "95proxy").write_text(apt_proxy(proxy))
    (context / "Dockerfile").write_text(f"FROM {debian_image()}\nCOPY 95proxy {PROXY_FILE}\n")
    _run(["docker", "build", "--quiet", "--tag", _IMAGE, str(context)])
    if shutil.which("podman"):
        _run(["sh", "-c", f"docker save {_IMAGE} | podman load --quiet"])
    try:
        yield
    finally:
        _run(["docker", "rmi", "--force", _IMAGE])
        if shutil.which("podman"):
            _run(["podman", "rmi", "--force", f"localhost/{_IMAGE}"])


def _piuparts(folder: Path, package: str) -> None:
    argv = ["piuparts", "--apt", package, f"--docker-image={_IMAGE}", f"--distribution={_RELEASE}"]
    _run([*argv, f"--mirror={_MIRROR} main", "--no-upgrade-test", "--warn-on-others", f"--tmpdir={folder}"])


def _autopkgtest(folder: Path, package: str) -> None:
    """It takes a source tree. Ours has one test, which depends on the package."""
    debian = folder / "tree/debian"
    (debian / "tests").mkdir(parents=True)
    (debian / "changelog").write_text(
        f"{package} (1-1) {_RELEASE}; urgency=low\n\n  * Test.\n\n"
        " -- alts <alts@example.org>  Sat, 28 Nov 2026 00:00:00 +0000\n"
    )
    (debian / "control").write_text(
        f"Source: {package}\nMaintainer: alts <alts@example.org>\n\n"
        f"Package: {package}\nArchitecture: any\nDescription: under test\n"
    )
    (debian / "tests/control").write_text(
        f"Test-Command: {_SMOKE[package]}\nDepends: {package}\nRestrictions: allow-stderr, superficial\n"
    )
    # Like Debian's own tests, it reads the lists first.
    setup = "--setup-commands=apt-get update"
    argv = ["autopkgtest", setup, "--no-built-binaries", f"{folder}/tree/", "--", "docker", _IMAGE]
    # 8: no test, or none of more than superficial value, has failed (autopkgtest(1)).
    _run(argv, fine=(0, 8))


def _tmt(folder: Path, package: str) -> None:
    tree = folder / "tree"
    (tree / ".fmf").mkdir(parents=True)
    (tree / ".fmf/version").write_text("1\n")
    (tree / "plan.fmf").write_text(
        f"provision:\n  how: container\n  image: localhost/{_IMAGE}\n  pull: false\n"
        f"prepare:\n  how: install\n  package: {package}\nexecute:\n  how: tmt\n  script: {_SMOKE[package]}\n"
    )
    # Without the right to raise limits (CAP_SYS_RESOURCE) a container starts only with lower ones, and podman's own
    # runtime refuses control groups of both versions.
    (folder / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n[engine]\nruntime = "runc"\n'
    )
    argv = ["tmt", "--root", str(tree), "run", "--id", f"{folder}/run", "--scratch", "--all"]
    _run(argv, env={**os.environ, "CONTAINERS_CONF": f"{folder}/containers.conf"})


_TOOLS = "git python3-pip python3-pytest python3-testinfra bats"


def _predecessor(_folder: Path, package: str) -> None:
    """A machine; its own tools in it; the package; a test of its presence; the removal; the end of the machine."""
    name = f"alts-bench-{uuid.uuid4().hex[:12]}"
    install = "apt-get -q update && apt-get -qy install --no-install-recommends"
    check = f"printf 'def test_it(host):\\n    assert host.package(\"{package}\").is_installed\\n' >/tmp/test_it.py"
    steps = (
        f"{install} {_TOOLS}",
        f"{install} {package}",
        f"{check} && python3 -m pytest -q /tmp/test_it.py",
        f"apt-get -qy remove {package}",
    )
    try:
        _run(["docker", "run", "--detach", "--name", name, _IMAGE, "sleep", "infinity"])
        for step in steps:
            _run(["docker", "exec", "--env=DEBIAN_FRONTEND=noninteractive", name, "sh", "-c", step])
    finally:
        _run(["docker", "rm", "--force", name])


def _run(argv: Sequence[str], *, fine: Sequence[int] = (0,), env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        argv, env=env, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_PATIENCE
    )
    if done.returncode not in fine:
        sys.stderr.write(done.stdout.decode(errors="replace")[-4000:])
        raise subprocess.CalledProcessError(done.returncode, argv)


PEERS = (
    Peer("piuparts (docker)", ("piuparts",), "apt-get install piuparts", _piuparts),
    Peer("autopkgtest (docker)", ("autopkgtest",), "apt-get install autopkgtest", _autopkgtest),
    Peer("tmt (podman)", ("tmt", "podman", "rsync"), "pip install tmt; apt-get install podman rsync", _tmt),
    Peer("the predecessor's sequence", ("docker",), "apt-get install docker.io", _predecessor),
)
