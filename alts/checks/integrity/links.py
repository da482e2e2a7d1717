"""Whether the symbolic links that a package ships lead somewhere. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator

from alts.checks.state.tree import Tree
from alts.shared.models.report import Finding, Kind, Severity

# What lies there was put there by packages and by nobody else; elsewhere it may come with the first start or by hand.
_PACKAGED = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/")
_NOT_PACKAGED = ("/usr/local/",)


def link_findings(
    paths: Iterable[str], tree: Tree, *, may_be: Callable[[str], bool], own: Callable[[str], bool], complete: bool
) -> Iterator[Finding]:
    """Links among `paths` with nothing at their end.

    `may_be`: a path that need not be there, such as one in /proc. `own`: a folder that is the package's alone.
    `complete`: everything that the package suggests is there, so nothing may come later that the link waits for.
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
            message=f"{path} leads to {end}, which is not there",
            evidence=f"{path} -> {target}",
        )
