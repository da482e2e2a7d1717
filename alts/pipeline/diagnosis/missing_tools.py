"""Check that the machine still has the programs that the stages use."""

from __future__ import annotations

from collections.abc import Iterator

from alts.checks.integrity.interpreters import PROGRAMS
from alts.checks.state.tree import Tree
from alts.pipeline.context import StageContext
from alts.pipeline.diagnosis.exit_codes import NOT_RUN
from alts.pipeline.stages.snapshot import BEFORE
from alts.shared.models.report import Finding, Kind

_TOOLS = (
    *("cat", "df", "find", "grep", "head", "rm", "sed", "sha256sum", "stat", "tail", "true"),
    *("apt-cache", "apt-get", "dpkg", "dpkg-deb", "dpkg-query", "dnf", "rpm", "yum"),
)

# The script uses only commands that the shell has built in.
_SCRIPT = 'for tool do command -v "$tool" >/dev/null || printf "%s\\n" "$tool"; done'


def tools_gone(context: StageContext) -> tuple[Finding, ...]:
    """Return a finding for each program that was there before the installation and is gone now.

    Without it the later stages cannot observe the machine, so the package is to blame. Raises Stopped or InstanceLost.
    """
    before = dict(_there(Tree(context.seen.snapshots[BEFORE].files)))
    done = context.run(("/bin/sh", "-c", _SCRIPT, "sh", *before), question=True)
    gone = ["sh"] if done.exit_code in NOT_RUN else done.output.split() if done.ok else []
    return tuple(
        Finding(
            kind=Kind.MISSING_FILE,
            message=f"installing {context.spec.package_name} removed {tool} from the machine",
            evidence=before.get(tool, done.tail(1)),
        )
        for tool in gone
    )


def _there(tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield each tool that the tree has, with its path."""
    for tool in _TOOLS:
        path = next((path for folder in PROGRAMS if tree.exists(path := f"{folder}/{tool}")), None)
        if path is not None:
            yield tool, path
