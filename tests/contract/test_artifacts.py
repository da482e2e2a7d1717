"""The contract of ArtifactStore, run against the folder store and against S3 on a real server."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from alts.shared.errors import StorageUnavailable
from alts.shared.storage.base import ArtifactStore, artifact_key
from alts.shared.storage.local import FolderStore
from alts.shared.storage.s3 import S3Store
from tests.support.ports import free_ports
from tests.support.s3 import PrivateS3

KEY = artifact_key("artifacts", "00000000-0000-4000-8000-000000000001", 1, "install.log")


def s3_store(s3: PrivateS3, *, endpoint_url: str | None = None, secret: str | None = None) -> S3Store:
    return S3Store(
        endpoint_url=endpoint_url or s3.endpoint_url,
        region="us-east-1",
        bucket=f"artifacts-{secrets.token_hex(4)}",
        access_key_id=s3.access_key_id,
        secret_access_key=SecretStr(secret or s3.secret_access_key),
    )


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.services)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """An empty store."""
    if request.param == "folder":
        return FolderStore(tmp_path / "storage")
    return s3_store(request.getfixturevalue("s3"))


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.services)])
def broken_store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """A store that cannot be reached."""
    if request.param == "folder":
        (tmp_path / "file").touch()
        return FolderStore(tmp_path / "file" / "storage")
    return s3_store(request.getfixturevalue("s3"), endpoint_url=f"http://127.0.0.1:{free_ports(1)[0]}")


def test_a_key_says_whose_it_is() -> None:
    assert artifact_key("/artifacts/", "id", 2, "report.json") == "artifacts/id/2/report.json"


@pytest.mark.parametrize(
    "content", [b"", b"one line\n", "Grüße, \N{SNOWMAN}\n".encode(), bytes(range(256)) * 20_000], ids=len
)
def test_what_is_put_can_be_got(store: ArtifactStore, content: bytes) -> None:
    store.put(KEY, content)

    assert store.get(KEY) == content


def test_the_newer_content_replaces_the_older(store: ArtifactStore) -> None:
    store.put(KEY, b"a longer first content")
    store.put(KEY, b"second")

    assert store.get(KEY) == b"second"


def test_keys_do_not_get_in_each_others_way(store: ArtifactStore) -> None:
    store.put(artifact_key("artifacts", "task", 1, "install.log"), b"first attempt")
    store.put(artifact_key("artifacts", "task", 2, "install.log"), b"second attempt")

    assert store.get(artifact_key("artifacts", "task", 1, "install.log")) == b"first attempt"


def test_an_unknown_key_is_a_key_error(store: ArtifactStore) -> None:
    store.put(KEY, b"")

    with pytest.raises(KeyError):
        store.get(artifact_key("artifacts", "task", 1, "no-such.log"))


def test_a_location_names_the_key(store: ArtifactStore) -> None:
    assert store.location(KEY).endswith(KEY)
    assert store.location(KEY).partition("://")[0] in ("file", "s3")


def test_an_empty_store_passes_its_check(store: ArtifactStore) -> None:
    store.check()
    store.check()


def test_ten_threads_may_put_at_once(store: ArtifactStore) -> None:
    def put(number: int) -> None:
        store.put(artifact_key("artifacts", "task", number, "install.log"), str(number).encode())

    threads = [threading.Thread(target=put, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number in range(10):
        assert store.get(artifact_key("artifacts", "task", number, "install.log")) == str(number).encode()


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda store: store.put(KEY, b"x"), id="put"),
        pytest.param(lambda store: store.get(KEY), id="get"),
        pytest.param(lambda store: store.check(), id="check"),
    ],
)
def test_a_store_that_is_away_is_our_fault_and_worth_another_try(
    broken_store: ArtifactStore, call: Callable[[ArtifactStore], object]
) -> None:
    with pytest.raises(StorageUnavailable) as trouble:
        call(broken_store)

    assert trouble.value.retryable


@pytest.mark.services
def test_s3_refuses_a_wrong_secret_and_the_error_does_not_tell_it(s3: PrivateS3) -> None:
    secret = secrets.token_hex(16)

    with pytest.raises(StorageUnavailable) as trouble:
        s3_store(s3, secret=secret).check()

    assert secret not in str(trouble.value)


@pytest.mark.parametrize("key", ["../outside", "artifacts/../../outside"])
def test_the_folder_is_not_left(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        FolderStore(tmp_path / "storage").put(key, b"x")
