"""Where the files are that are no Python: terraform templates, ansible playbooks, image recipes."""

from __future__ import annotations

from pathlib import Path

import alts

# The service runs from its checkout (README.md), so the folder stands beside the package.
_ROOT = Path(alts.__file__).resolve().parent.parent / "resources"


def resource(*parts: str) -> Path:
    """A file or folder below resources/: `resource("terraform", "docker")`.

    Raises FileNotFoundError: only an incomplete checkout lacks one.
    """
    path = _ROOT.joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: is the checkout complete?")
    return path
