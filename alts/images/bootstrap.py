"""Make a root folder's tar from a distribution's mirror, once, and keep it in the cache."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Protocol

from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.images import mmdebstrap
from alts.images.recipes import Recipe
from alts.shared.atomic_file import move_into_place


class MakeRoot(Protocol):
    """See alts.images.mmdebstrap.make_root."""

    def __call__(
        self,
        target: Path,
        *,
        codename: str,
        architecture: str,
        mirror: str | None,
        finish: Path,
        scratch: Path,
        stop: Stop,
        sink: OutputSink,
    ) -> None: ...


def bootstrap(
    recipe: Recipe, *, folder: Path, stop: Stop, log: OutputSink, make_root: MakeRoot = mmdebstrap.make_root
) -> Path:
    """Return the recipe's tar in the cache folder; build it if missing. The caller holds the recipe's lock.

    Raises ImageUnavailable or Stopped.
    """
    tar = folder / f"{recipe.name}.tar"
    prefix = f"{recipe.name}.draft-"
    # We hold the lock, so these drafts are from killed workers.
    for stale in folder.glob(f"{prefix}*"):
        shutil.rmtree(stale)
    if tar.exists():
        return tar
    draft = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    try:
        # apt fetches as the user _apt, which needs access to the folder. With mkdtemp's 0700, apt would fetch as root.
        draft.chmod(0o755)
        finish = draft / "finish.sh"
        finish.write_text(recipe.finish, encoding="utf-8")
        make_root(
            draft / "root.tar",
            codename=recipe.codename,
            architecture=recipe.architecture,
            mirror=recipe.mirror,
            finish=finish,
            scratch=draft,
            stop=stop,
            sink=log,
        )
        # Durable: a truncated image in the cache would fail forever.
        move_into_place(draft / "root.tar", tar, durable=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return tar
