"""Debian packages built for a test, and a flat repository that serves them to containers."""

from __future__ import annotations

import functools
import hashlib
import http.server
import ipaddress
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker

# Deaf to everything but SIGKILL, with a child in a session of its own that is so, too.
DEAF = """
trap '' HUP INT QUIT TERM
setsid sh -c "trap '' HUP INT TERM; sleep 3" &
sleep 1; sleep 1; sleep 1
"""


def build_deb(
    folder: Path,
    name: str,
    *,
    version: str = "1.0",
    fields: Mapping[str, str] | None = None,
    files: Mapping[str, str | bytes] | None = None,
    links: Mapping[str, str] | None = None,
    scripts: Mapping[str, str] | None = None,
) -> Path:
    """A binary package of `files` (path → content; bytes are a program), `links` (path → target) and maintainer
    `scripts` (name → shell lines)."""
    root = folder / f"{name}.root"
    control = {
        "Package": name,
        "Version": version,
        "Architecture": "all",
        "Maintainer": "Nobody <nobody@invalid.invalid>",
        "Description": "made for a test",
        **(fields or {}),
    }
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text("".join(f"{key}: {value}\n" for key, value in control.items()))
    if files is None:
        files = {f"/usr/share/{name}/readme": "made for a test\n"}
    for path, content in files.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        target.chmod(0o644 if isinstance(content, str) else 0o755)
    for path, to in (links or {}).items():
        link = root / path.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(to)
    for script, lines in (scripts or {}).items():
        target = root / "DEBIAN" / script
        target.write_text(f"#!/bin/sh\n{lines}\n")
        target.chmod(0o755)
    # Archives leave the epoch out of file names (Debian Policy 5.6.12).
    package = folder / f"{name}_{version.rpartition(':')[2]}_{control['Architecture']}.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(root), str(package)], check=True, stdout=subprocess.DEVNULL
    )
    shutil.rmtree(root)
    return package


def write_index(folder: Path) -> None:
    """Packages for every .deb in the folder: with it, the folder is a flat repository."""
    stanzas = []
    for package in sorted(folder.glob("*.deb")):
        control = subprocess.run(["dpkg-deb", "--field", str(package)], check=True, capture_output=True, text=True)
        content = package.read_bytes()
        stanzas.append(
            f"{control.stdout}Filename: ./{package.name}\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
    (folder / "Packages").write_text("\n".join(stanzas))


@contextmanager
def serving(folder: Path, *, address: str | None = None) -> Iterator[str]:
    """The folder over HTTP, on an address that containers reach (the default engine's); gives its URL."""
    handler = functools.partial(_QuietHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer((address or bridge_address(), 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://{server.server_address[0]!s}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


def bridge_address() -> str:
    """Of this host, as containers on the default network see it."""
    client = docker.from_env()
    try:
        [config] = client.networks.get("bridge").attrs["IPAM"]["Config"]
        # An engine of before 23 names the gateway only where somebody chose it; by itself it takes the first address.
        return str(config.get("Gateway") or next(ipaddress.ip_network(config["Subnet"]).hosts()))
    finally:
        client.close()


@contextmanager
def serving_slow_package(folder: Path, *, seconds: int) -> Iterator[dict[str, Any]]:
    """A request for a package whose installation takes that long; `folder` is made for it."""
    folder.mkdir()
    build_deb(folder, "slow-to-install", scripts={"postinst": f"sleep {seconds}"})
    write_index(folder)
    with serving(folder) as url:
        yield {"package_name": "slow-to-install", "repositories": [{"url": url, "trusted": True}]}
