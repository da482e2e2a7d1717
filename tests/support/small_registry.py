"""A registry with one small image, and one that accepts connections and never answers."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import socket
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _layer() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("greeting")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"hello"))
    return buffer.getvalue()


def _answers(architecture: str) -> dict[str, tuple[str, bytes]]:
    """Path → content type and content, of the image small:1. https://distribution.github.io/distribution/spec/api/"""
    layer = _layer()
    packed = gzip.compress(layer, mtime=0)
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    ).encode()

    def described(content: bytes, kind: str) -> dict[str, Any]:
        return {"mediaType": kind, "size": len(content), "digest": _digest(content)}

    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described(config, "application/vnd.docker.container.image.v1+json"),
            "layers": [described(packed, "application/vnd.docker.image.rootfs.diff.tar.gzip")],
        }
    ).encode()
    return {
        "/v2/": ("application/json", b"{}"),
        "/v2/small/manifests/1": (MANIFEST, manifest),
        f"/v2/small/manifests/{_digest(manifest)}": (MANIFEST, manifest),
        f"/v2/small/blobs/{_digest(config)}": ("application/octet-stream", config),
        f"/v2/small/blobs/{_digest(packed)}": ("application/octet-stream", packed),
    }


@contextmanager
def small_registry(*, architecture: str = "amd64") -> Iterator[str]:
    """Yield its address, e.g. "127.0.0.1:40001". Engines trust such an address without TLS."""
    answers = _answers(architecture)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, content = answers.get(self.path, ("application/json", b""))
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Docker-Content-Digest", _digest(content))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has it so
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def silent_registry() -> Iterator[str]:
    """Yield the address of a server that listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
