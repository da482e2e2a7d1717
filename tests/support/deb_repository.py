"""Build Debian packages for a test, and serve a flat repository of them to containers."""

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

# Ignores every signal but SIGKILL, as does its child in another session.
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
    """Build a binary package.

    `files` maps a path to its content (bytes are a program), `links` a path to its target, and `scripts` the name of a
    maintainer script to shell lines.
    """
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
    """Write `Packages` for every .deb of the folder, which makes the folder a flat repository."""
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
    """Serve the folder over HTTP at an address that containers of the default engine reach; yield its URL."""
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
    """Return the address of this host for containers on the default network."""
    client = docker.from_env()
    try:
        [config] = client.networks.get("bridge").attrs["IPAM"]["Config"]
        # Engines before 23 name the gateway only if it was configured. Otherwise they take the first address.
        return str(config.get("Gateway") or next(ipaddress.ip_network(config["Subnet"]).hosts()))
    finally:
        client.close()


@contextmanager
def serving_slow_package(folder: Path, *, seconds: int) -> Iterator[dict[str, Any]]:
    """Yield a request for a package whose installation takes `seconds`; build the package in `folder`."""
    folder.mkdir()
    build_deb(folder, "slow-to-install", scripts={"postinst": f"sleep {seconds}"})
    write_index(folder)
    with serving(folder) as url:
        yield {"package_name": "slow-to-install", "repositories": [{"url": url, "trusted": True}]}
