"""Build the packages of tests.corpus.rpms in a container of the stand-in, with its own rpmbuild and createrepo_c."""

from __future__ import annotations

import io
import socket
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from alts.core.stop import Stop
from alts.runners.docker.build import BuildContainer, DockerBuilds
from alts.runners.docker.engine import Engine
from tests.corpus.rpms import Rpm
from tests.support.deb_repository import bridge_address, serving
from tests.support.leftovers import THIS_RUN

BUILD_SECONDS = 300.0
# Unique to this process: a builder removes every container with its labels, and another run may build concurrently.
LABELS = {"alts.build": "test-corpus", **THIS_RUN}
SIGNER, STRANGER = "signer@example.com", "stranger@example.com"

# gpg runs without prompts; the keys last as long as the container. createrepo_c and gpg come from the stand-in's own
# repository, inside the image. The package is truncated before createrepo_c runs, so the index describes the truncated
# file. An index that does not match its file is a different case: wrong_checksum.
BUILD = r"""
set -eu
export LC_ALL=C.UTF-8 GNUPGHOME=/corpus/gnupg
dnf -y -q install createrepo_c gpg gpg-agent > /corpus/dnf.log 2>&1 || { cat /corpus/dnf.log; exit 1; }
cd /corpus
for spec in specs/*.spec; do
    rpmbuild --quiet --define "_topdir /corpus/build" --define "_rpmdir /corpus/plain" \
        --define "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" -bb "$spec"
done
mkdir -m 700 "$GNUPGHOME"
for who in %(signer)s %(stranger)s; do
    gpg --batch --quiet --passphrase "" --quick-generate-key "$who" rsa3072 sign never
    gpg --armor --export "$who" > "$who.asc"
done
size=$(stat -c %%s plain/truncated-1.0-1.noarch.rpm)
truncate -s $((size - 20)) plain/truncated-1.0-1.noarch.rpm
for folder in signed wrong_signature wrong_checksum; do mkdir "$folder"; done
cp plain/good-*.rpm signed
cp plain/good-*.rpm wrong_signature
cp plain/wrong-checksum-*.rpm wrong_checksum
rpmsign --define "_gpg_name %(signer)s" --addsign signed/*.rpm
rpmsign --define "_gpg_name %(stranger)s" --addsign wrong_signature/*.rpm
for folder in plain signed wrong_signature wrong_checksum; do createrepo_c --quiet "$folder"; done
# As long as before, and not what the index promises.
printf X | dd of="$(echo wrong_checksum/*.rpm)" bs=1 seek=2000 conv=notrunc status=none
gpgconf --kill all
tar -cf /corpus.tar plain signed wrong_signature wrong_checksum *.asc
""" % {"signer": SIGNER, "stranger": STRANGER}  # noqa: UP031 - a shell script has braces of its own


def build(folder: Path, rpms: Iterable[Rpm], *, image: str, docker_host: str) -> None:
    """Write one folder per repository (plain, signed, wrong_signature, wrong_checksum), and the keys, to `folder`."""
    engine = Engine(docker_host)
    try:
        builds = DockerBuilds(engine)
        with builds.builder(image, labels=LABELS, seconds=BUILD_SECONDS) as container:
            container.push("/", _archive(rpms))
            done = container.run(["sh", "-c", BUILD], stop=Stop(BUILD_SECONDS))
            assert done.ok, done.output[-5000:]
            _unpack(container, folder)
    finally:
        engine.close()


def specification(rpm: Rpm) -> str:
    """Return the package's spec. It expects the files in /corpus/files/<name>."""
    lines = [
        "%global __os_install_post %{nil}",
        "%global debug_package %{nil}",
        "%global _build_id_links none",
        f"Name: {rpm.name}",
        f"Version: {rpm.version}",
        f"Release: {rpm.release}",
        *([f"Epoch: {rpm.epoch}"] if rpm.epoch is not None else []),
        "Summary: made for a test",
        "License: none",
        *([f"BuildArch: {rpm.architecture}"] if rpm.architecture == "noarch" else []),
        *rpm.tags,
        "%description",
        "Made for a test.",
        "%install",
        "mkdir -p %{buildroot}",
        f"cp -a /corpus/files/{rpm.name}/. %{{buildroot}}/",
    ]
    for script, text in rpm.scripts.items():
        lines += [f"%{script}", text]
    lines.append("%files")
    lines += [f"%dir {path}" for path in _own_folders(rpm)]
    lines += [f"{rpm.attributes.get(path, '')} {path}".strip() for path in (*_files(rpm), *rpm.links)]
    return "\n".join(lines) + "\n"


def _files(rpm: Rpm) -> Mapping[str, str | bytes]:
    return {f"/usr/share/{rpm.name}/readme": "made for a test\n"} if rpm.files is None else rpm.files


def _own_folders(rpm: Rpm) -> list[str]:
    """Return the parent folders named after the package. The package owns them, so rpm removes them with it."""
    folders = {str(Path(path).parent) for path in (*_files(rpm), *rpm.links)}
    return sorted(folder for folder in folders if Path(folder).name == rpm.name)


def _archive(rpms: Iterable[Rpm]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for rpm in rpms:
            _add(tar, f"corpus/specs/{rpm.name}.spec", specification(rpm).encode(), 0o644)
            member = tarfile.TarInfo(f"corpus/files/{rpm.name}")
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
            for path, content in _files(rpm).items():
                text = isinstance(content, str)
                data = content.encode() if isinstance(content, str) else content
                _add(tar, f"corpus/files/{rpm.name}{path}", data, 0o644 if text else 0o755)
            for path, target in rpm.links.items():
                member = tarfile.TarInfo(f"corpus/files/{rpm.name}{path}")
                member.type, member.linkname = tarfile.SYMTYPE, target
                tar.addfile(member)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))


def _unpack(container: BuildContainer, folder: Path) -> None:
    """Unpack /corpus.tar to `folder`. `fetch` wraps it in another tar."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(container.fetch("/corpus.tar")))) as outer:
        inner = outer.extractfile("corpus.tar")
        assert inner is not None
        with tarfile.open(fileobj=inner) as tar:
            tar.extractall(folder, filter="data")


def keys(folder: Path) -> Iterator[str]:
    """Yield the armored public keys: first the signer's, then the stranger's."""
    for who in (SIGNER, STRANGER):
        yield (folder / f"{who}.asc").read_text()


@contextmanager
def repositories(folder: Path) -> Iterator[Mapping[str, list[dict[str, Any]]]]:
    """Serve the repositories. Yield kind, as in Row.repository → value of `repositories` in a request."""
    signer, stranger = keys(folder)
    with ExitStack() as stack:
        url = stack.enter_context(serving(folder))
        silent = stack.enter_context(closing(socket.create_server((bridge_address(), 0))))
        yield {
            "none": [],
            "plain": [{"name": "corpus", "url": f"{url}plain/", "trusted": True}],
            "priority": [{"url": f"{url}plain/", "trusted": True, "priority": 10}],
            "signed": [{"url": f"{url}signed/", "gpg_key": signer}],
            "several_keys": [{"url": f"{url}signed/", "gpg_key": f"Ours are:\n{stranger}\n{signer}"}],
            "wrong_signature": [{"url": f"{url}wrong_signature/", "gpg_key": signer}],
            "unsigned": [{"url": f"{url}plain/"}],
            "wrong_checksum": [{"url": f"{url}wrong_checksum/", "trusted": True}],
            "nowhere": [{"url": f"{url}nowhere/", "trusted": True}],
            # Accepts connections and never answers.
            "silent": [{"url": f"http://{silent.getsockname()[0]}:{silent.getsockname()[1]}/", "trusted": True}],
        }
