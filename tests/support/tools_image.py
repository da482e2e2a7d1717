"""A small image for tests, made of the host's own programs in one second, without a network."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

from tests.support.leftovers import THIS_RUN

PROGRAMS = ("sh", "sleep", "base64", "mkdir", "chmod", "cat", "stat")


def root_filesystem() -> bytes:
    """Return a tar of the programs and their libraries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        packed: set[str] = set()
        for name in PROGRAMS:
            program = shutil.which(name)
            assert program is not None, f"{name} is missing on this machine"
            archive.add(Path(program).resolve(), f"bin/{name}")
            listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
            for library in re.findall(r"(/\S+) \(0x", listed):
                if library not in packed:
                    packed.add(library)
                    archive.add(Path(library).resolve(), library.lstrip("/"))
    return buffer.getvalue()


@contextmanager
def tools_image() -> Iterator[str]:
    """Make the image, yield its id, and remove it."""
    client = docker.from_env()
    reference = f"alts-test-tools:{uuid.uuid4().hex[:12]}"
    repository, tag = reference.split(":")
    labels = [f"LABEL {label}={value}" for label, value in THIS_RUN.items()]
    client.api.import_image_from_data(root_filesystem(), repository=repository, tag=tag, changes=labels)
    try:
        yield str(client.images.get(reference).id)
    finally:
        client.images.remove(reference, force=True)
        client.close()
