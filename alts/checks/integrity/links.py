"""Symbolic links of a package that lead nowhere. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator

from alts.checks.state.tree import Tree
from alts.shared.models.report import Finding, Kind, Severity

# Only packages put files into these folders. Elsewhere a file may come with the first start or by hand.
_PACKAGED = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/")
_NOT_PACKAGED = ("/usr/local/",)


def link_findings(
    paths: Iterable[str], tree: Tree, *, may_be: Callable[[str], bool], own: Callable[[str], bool], complete: bool
) -> Iterator[Finding]:
    """Yield a finding for each link among `paths` with no file at its end.

    `may_be`: whether a path may be missing, for example one in /proc. `own`: whether a folder is this package's alone.
    `complete`: all suggested packages are installed, so none can come later with the target. The finding is an error if
    one of the two holds and the target would be in a folder for packages, else a warning.
    """
    for path in paths:
        target = tree.target(path)
        if target is None:
            continue
        end = tree.end(path)
        if tree.exists(end) or may_be(end):
            continue
        packaged = end.startswith(_PACKAGED) and not end.startswith(_NOT_PACKAGED)
        sure = packaged and (complete or own(posixpath.dirname(end)) or own(end))
        yield Finding(
            kind=Kind.BROKEN_SYMLINK,
            severity=Severity.ERROR if sure else Severity.WARNING,
            message=f"{path} points to {end}, which does not exist",
            evidence=f"{path} -> {target}",
        )
