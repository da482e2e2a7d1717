"""The files below resources/: Terraform templates, Ansible playbooks, image recipes, rules for leftovers."""

from __future__ import annotations

from pathlib import Path

import alts

# The service runs from its checkout (README.md), so the folder is beside the package.
_ROOT = Path(alts.__file__).resolve().parent.parent / "resources"


def resource(*parts: str) -> Path:
    """Return the path of a file or folder below resources/: `resource("terraform", "docker")`.

    Raises FileNotFoundError if it is missing, which only happens in an incomplete checkout.
    """
    path = _ROOT.joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: is the checkout complete?")
    return path
