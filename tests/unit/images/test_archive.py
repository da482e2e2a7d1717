"""A layer becomes an archive that Docker accepts."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from alts.images.archive import docker_archive


def unpacked(layer: Path, *, architecture: str = "amd64") -> dict[str, bytes]:
    archive = b"".join(docker_archive(layer, reference="alts/debian:12", architecture=architecture))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        return {name: file.read() for name, file in files.items() if file is not None}


def a_layer(folder: Path, *, size: int = 10_240) -> Path:
    layer = folder / "root.tar"
    layer.write_bytes(os.urandom(size))
    os.utime(layer, (1_700_000_000, 1_700_000_000))
    return layer


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 3_000_000])
def test_the_layer_is_in_it_byte_for_byte(tmp_path: Path, size: int) -> None:
    layer = a_layer(tmp_path, size=size)

    files = unpacked(layer)

    (manifest,) = json.loads(files["manifest.json"])
    (layer_name,) = manifest["Layers"]
    assert files[layer_name] == layer.read_bytes()
    assert manifest["RepoTags"] == ["alts/debian:12"]


def test_the_configuration_says_architecture_and_digest(tmp_path: Path) -> None:
    layer = a_layer(tmp_path)

    files = unpacked(layer, architecture="386")

    config_name = json.loads(files["manifest.json"])[0]["Config"]
    config: dict[str, Any] = json.loads(files[config_name])
    digest = hashlib.sha256(layer.read_bytes()).hexdigest()
    assert config["architecture"] == "386"
    assert config["created"] == "2023-11-14T22:13:20Z"
    assert config["rootfs"]["diff_ids"] == [f"sha256:{digest}"]
    assert config_name == hashlib.sha256(files[config_name]).hexdigest() + ".json"


def test_the_same_layer_makes_the_same_image(tmp_path: Path) -> None:
    layer = a_layer(tmp_path)

    assert unpacked(layer) == unpacked(layer)
