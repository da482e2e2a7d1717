"""Tars for the engine: of a few files, and an image for `docker load` with the right architecture, from a root's tar.

`docker import` labels every image with the engine's own architecture. Docker then treats an i386 image as missing.
Format: https://github.com/moby/docker-image-spec/blob/v1.2.0/v1.2.md#combined-image-json--filesystem-changeset-format
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PIECE = 1 << 20
_BLOCK = 512  # bytes; tar pads every member to it


def packed(files: Iterable[tuple[str, bytes, int]]) -> bytes:
    """Return a tar of files, each given as (absolute path, content, mode)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content, mode in files:
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def docker_archive(layer: Path, *, reference: str, architecture: str) -> Iterator[bytes]:
    """Yield the image archive in chunks: one layer, named `reference`.

    `architecture`: Docker's name, e.g. "386". The image's date is the tar's mtime, so the same tar always gives the
    same image id.
    """
    digest = _digest(layer)
    created = datetime.fromtimestamp(layer.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "created": created,
            "config": {"Cmd": ["bash"], "Env": [_PATH]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created": created, "created_by": "alts: bootstrapped from a mirror"}],
        }
    )
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    layer_name = f"{digest}/layer.tar"
    yield from _member(config_name, config)
    yield from _member(
        "manifest.json", _json([{"Config": config_name, "RepoTags": [reference], "Layers": [layer_name]}])
    )
    yield _header(layer_name, layer.stat().st_size)
    yield from _pieces(layer)
    yield _padding(layer.stat().st_size) + bytes(2 * _BLOCK)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield _header(name, len(content)) + content + _padding(len(content))


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.USTAR_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
