"""Build the packages of tests.corpus.debs, and correct and faulty repositories of them."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

from tests.corpus.debs import Deb
from tests.support.deb_repository import bridge_address, build_deb, serving, write_index

Body = Mapping[str, Any]
"""One entry of a request's `repositories`."""


@contextmanager
def repositories(folder: Path, debs: Iterable[Deb]) -> Iterator[Mapping[str, Body]]:
    """Serve the packages in each kind of repository. Yield kind, as in Row.repository → request entry."""
    plain, signed, unsigned, lying = (folder / name for name in ("plain", "signed", "unsigned", "lying"))
    build(plain, debs)
    for copy in (signed, unsigned, lying):
        shutil.copytree(plain, copy)
    for released in (signed, unsigned):
        write_release(released)
    index = lying / "Packages"
    index.write_text(_with_another_checksum(index.read_text(), "wrong-checksum"))
    with ExitStack() as stack:
        url = stack.enter_context(serving(folder))
        silent = stack.enter_context(_silent_server())
        right, wrong = (stack.enter_context(signing_key()) for _ in range(2))
        right.sign(signed)
        (folder / "key.asc").write_text(right.public)
        yield {
            "plain": {"url": f"{url}plain/", "trusted": True},
            "signed": {"url": f"{url}signed/", "gpg_key": f"{url}key.asc"},
            "signed_and_trusted": {"url": f"deb  {url}signed/  /", "trusted": True},
            "several_keys": {"url": f"{url}signed/", "gpg_key": f"Ours are:\n{wrong.public}\n{right.public}"},
            "wrong_signature": {"url": f"{url}signed/", "gpg_key": wrong.public},
            "unsigned": {"url": f"{url}unsigned/"},
            "wrong_checksum": {"url": f"{url}lying/", "trusted": True},
            "no_key": {"url": f"{url}signed/", "gpg_key": f"{url}plain/Packages"},
            "nowhere": {"url": f"{url}nothing/here/", "trusted": True},
            "silent": {"url": silent, "trusted": True},
        }


def build(folder: Path, debs: Iterable[Deb]) -> None:
    """Build the packages and an index of them. The entry of a truncated package describes the truncated file."""
    folder.mkdir(parents=True)
    cut = []
    for deb in debs:
        package = build_deb(
            folder,
            deb.name,
            version=deb.version,
            fields=deb.fields,
            files=deb.files,
            links=deb.links,
            scripts=deb.scripts,
        )
        if deb.cut_short:
            fields = subprocess.run(["dpkg-deb", "--field", str(package)], check=True, capture_output=True, text=True)
            content = package.read_bytes()[: package.stat().st_size // 2]
            package.unlink()
            cut.append((package, content, fields.stdout))
    write_index(folder)
    with (folder / "Packages").open("a") as index:
        for package, content, stanza in cut:
            package.write_bytes(content)
            index.write(
                f"\n{stanza}Filename: ./{package.name}\nSize: {len(content)}\n"
                f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
            )


def write_release(folder: Path) -> None:
    """Write an unsigned Release file for a flat repository."""
    index = (folder / "Packages").read_bytes()
    (folder / "Release").write_text(
        f"Origin: corpus\nSuite: stable\nDate: {formatdate(usegmt=True)}\n"
        f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    )


@dataclass(frozen=True)
class SigningKey:
    """A temporary GPG key."""

    home: Path
    public: str

    def sign(self, folder: Path) -> None:
        release = folder / "Release"
        _gpg(self.home, "--armor", "--detach-sign", "--output", f"{release}.gpg", str(release))

    def clearsigned(self, text: bytes) -> bytes:
        """Return the text with an inline signature, as in an InRelease file."""
        with tempfile.NamedTemporaryFile(dir=self.home) as file:
            file.write(text)
            file.flush()
            return _gpg(self.home, "--clearsign", "--output", "-", file.name).encode()


@contextmanager
def signing_key() -> Iterator[SigningKey]:
    # gpg's agent makes a socket in the folder, and a socket's path is limited to 108 bytes (unix(7)): use a short path.
    with tempfile.TemporaryDirectory(prefix="alts-gpg-") as folder:
        home = Path(folder)
        try:
            _gpg(home, "--passphrase", "", "--quick-generate-key", "corpus@invalid.invalid", "ed25519", "sign", "never")
            yield SigningKey(home, _gpg(home, "--armor", "--export"))
        finally:
            subprocess.run(["gpgconf", "--homedir", folder, "--kill", "all"], check=False, capture_output=True)


def _gpg(home: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["gpg", "--homedir", str(home), "--batch", "--quiet", *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout


def _with_another_checksum(index: str, package: str) -> str:
    stanzas = index.split("\n\n")
    for number, stanza in enumerate(stanzas):
        if f"Package: {package}\n" in stanza:
            before, _, after = stanza.rpartition("SHA256: ")
            stanzas[number] = f"{before}SHA256: {'0' * 64}{after[64:]}"
    return "\n\n".join(stanzas)


@contextmanager
def _silent_server() -> Iterator[str]:
    """Run a server that accepts connections and never answers. Yield its URL."""
    with socket.create_server((bridge_address(), 0), backlog=64) as listener:
        host, port = listener.getsockname()
        yield f"http://{host}:{port}/"
