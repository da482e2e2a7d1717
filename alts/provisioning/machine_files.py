"""Files for a machine, as pieces that its own shell can write."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

from alts.core.instance import Instance, InstanceFile
from alts.core.stop import Stop, Stopped
from alts.shared.errors import ProvisionFailed

# Bytes. A batch is one argument of execve(2), which may have 128 KiB (MAX_ARG_STRLEN). The batch's commands need the
# rest.
_BATCH_LIMIT = 90_000
_PATH = re.compile(r"/[A-Za-z0-9._+@/-]*[A-Za-z0-9._+@-]\Z")
_MODE = re.compile(r"0[0-7]{3}\Z")


@dataclass(frozen=True)
class Piece:
    """A file, or a part of a long one. Its content is in base64, so it can contain neither a template nor a word."""

    path: str
    folder: str
    mode: str
    redirection: str
    """">", or ">>" for a part that follows another one."""
    content_base64: str

    @property
    def variables(self) -> Mapping[str, str]:
        """The piece as data for Ansible."""
        return asdict(self)

    @property
    def size(self) -> int:
        """Bytes of all its words."""
        return sum(map(len, self.variables.values()))

    @property
    def script(self) -> str:
        """Lines for `sh -eu`."""
        folder, path = shlex.quote(self.folder), shlex.quote(self.path)
        return (
            f"mkdir -p {folder}\n"
            f"printf %s {self.content_base64} | base64 -d {self.redirection} {path}\n"
            f"chmod {self.mode} {path}\n"
        )


def batches(files: Sequence[InstanceFile]) -> list[list[Piece]]:
    """Return the files' pieces in batches, each for one command. There is at least one, which may be empty.

    Raises ValueError for a path or a mode that is not plain.
    """
    found: list[list[Piece]] = [[]]
    room = _BATCH_LIMIT
    for file in files:
        for piece in _pieces(file):
            if piece.size > room and found[-1]:
                found.append([])
                room = _BATCH_LIMIT
            found[-1].append(piece)
            room -= piece.size
    return found


def write_files(instance: Instance, files: Sequence[InstanceFile], *, stop: Stop) -> None:
    """Write files into a machine. Raises ProvisionFailed, InstanceLost, MachineRuined or Stopped."""
    for batch in batches(files):
        script = "set -eu\numask 022\n" + "".join(piece.script for piece in batch)
        # A command that appends must not be run twice.
        twice = all(piece.redirection == ">" for piece in batch)
        done = instance.run(("/bin/sh", "-c", script), stop=stop, repeatable=twice)
        if done.stopped is not None:
            raise Stopped(done.stopped)
        if not done.ok:
            raise ProvisionFailed("files cannot be written into the machine", details=done.tail())


def _pieces(file: InstanceFile) -> Iterator[Piece]:
    if not _PATH.match(file.path) or ".." in PurePosixPath(file.path).parts:
        raise ValueError(f"not a plain absolute path: {file.path!r}")
    if not _MODE.match(file.mode):
        raise ValueError(f"not a mode like 0644: {file.mode!r}")
    content = file.content.encode()
    step = _BATCH_LIMIT // 4 * 3 - 3_000
    for start in range(0, max(len(content), 1), step):
        yield Piece(
            path=file.path,
            folder=str(PurePosixPath(file.path).parent),
            mode=file.mode,
            redirection=">>" if start else ">",
            content_base64=base64.b64encode(content[start : start + step]).decode(),
        )
