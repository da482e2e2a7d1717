"""Check that the installed files are the shipped ones and can work. Installs nothing for it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice

from alts.checks.integrity.elf import SMALLEST, Elf, ElfKind
from alts.checks.integrity.interpreters import FIRST_LINE, interpreter_finding, is_started, loader_finding
from alts.checks.integrity.libraries import LoaderView, library_findings
from alts.checks.integrity.links import link_findings
from alts.checks.integrity.search_path import search_path_findings
from alts.checks.leftovers.find import shown
from alts.checks.state.rules import rules_for
from alts.checks.state.snapshot import Snapshot
from alts.checks.state.tree import Tree
from alts.package_managers.base import Exclusions
from alts.pipeline.context import StageContext
from alts.pipeline.diagnosis.exit_codes import check_tools
from alts.pipeline.elf_files import elf_kinds, loader_cache, read_elf_files
from alts.pipeline.file_contents import beginnings
from alts.pipeline.output_file import whole_output
from alts.pipeline.stage import StageAnswer
from alts.pipeline.stages.snapshot import BEFORE, INSTALLED, look
from alts.shared.models.report import Finding, Kind, Severity

_MOST_FINDINGS = 20_000  # of each check, before they are sorted and cut

# A verification line may end with a reason: "missing     /usr/share/doc/x (Permission denied)".
_REASON = re.compile(r" \([A-Z][a-z ]+\)$")

# The kind of this program, which every machine has, is the kind of the machine's own programs.
_SHELL = "/bin/sh"


def integrity(context: StageContext) -> StageAnswer:
    """Compare all installed files with the package, follow its links, and look for interpreters, loaders and libraries.

    Returns at most SHOWN findings of one kind and severity, and a count of the rest (alts.checks.leftovers.find).
    """
    spec, packages = context.spec, context.packages
    verify, listing = packages.verify(spec), packages.owned_files(spec)
    verifying = context.run(verify.argv, repeatable=verify.repeatable)
    check_tools(verifying)
    verified = verify.judge(verifying)
    exclusions = packages.exclusions()
    excluded = context.answer(exclusions) if exclusions else _nothing
    listed = whole_output(context, listing.argv, "list of the package's files")
    # Snapshots decode invalid bytes in the same way.
    owned = listing.read(listed.decode(errors="backslashreplace"))
    now = context.seen.snapshots.get(INSTALLED) or look(context, "snapshot of the machine")
    tree = Tree(now.files)
    complete = _Complete(context, now)
    sorts = (
        _present(verified, owned, tree, excluded, context),
        _links(context, owned, tree, excluded, complete),
        _scripts(context, owned, tree, complete),
        _programs(context, owned, tree),
    )
    findings = chain.from_iterable(islice(found, _MOST_FINDINGS) for found in sorts)
    return StageAnswer(shown(sorted(dict.fromkeys(findings), key=_order)))


def _nothing(path: str) -> bool:  # noqa: ARG001
    """Return that the machine's settings leave no path out."""
    return False


def _order(finding: Finding) -> tuple[str, str, str]:
    return finding.kind, finding.message, finding.evidence


def _present(
    verified: Iterable[Finding], owned: Iterable[str], tree: Tree, excluded: Exclusions, context: StageContext
) -> Iterator[Finding]:
    """Yield the package manager's findings, then missing files that it does not verify for lack of a checksum.

    Files that the machine's settings exclude from unpacking may be missing.
    """
    rules = rules_for(context.spec.platform.family)
    told = set()
    for finding in verified:
        path = _path_in(finding.evidence)
        if finding.kind is Kind.MISSING_FILE:
            if excluded(path):
                continue
            told.add(path)
        yield finding
    for path in owned:
        if path not in told and not tree.has(path) and not excluded(path) and not rules.unseen(tree.place(path)):
            yield Finding(kind=Kind.MISSING_FILE, message=f"{path} is missing", evidence=path)


def _path_in(line: str) -> str:
    """Return the path in a verification line: "missing     /usr/share/doc/x (Permission denied)"."""
    return _REASON.sub("", line[line.find("/") :])


class _Complete:
    """Whether all suggested packages are installed, so that none can come later with a file that is missing now.

    Asks the machine at the first call only.
    """

    def __init__(self, context: StageContext, now: Snapshot) -> None:
        self._context = context
        self._now = now
        self._answer: bool | None = None

    def __call__(self) -> bool:
        if self._answer is None:
            packages = self._context.packages
            optional = self._context.answer(packages.optional(self._context.spec))
            self._answer = optional <= self._now.packages.keys()
        return self._answer


def _links(
    context: StageContext, owned: Sequence[str], tree: Tree, excluded: Exclusions, complete: _Complete
) -> Iterator[Finding]:
    rules = rules_for(context.spec.platform.family)
    broken = [path for path in owned if tree.target(path) is not None and not tree.exists(path)]
    if not broken:
        return
    before = context.seen.snapshots.get(BEFORE, Snapshot())
    # No other package will add a file to a folder that this package alone brought.
    own = {tree.place(path) for path in owned} - before.files.keys()
    yield from link_findings(
        broken,
        tree,
        may_be=lambda path: rules.unseen(path) or excluded(path) or rules.is_the_machines(path),
        own=own.__contains__,
        complete=complete(),
    )


def _scripts(context: StageContext, owned: Sequence[str], tree: Tree, complete: _Complete) -> Iterator[Finding]:
    started = sorted({place for place in map(tree.place, owned) if is_started(place, tree.mode(place))})
    for path, first in beginnings(context, started, FIRST_LINE, title="first lines of {} programs"):
        if found := interpreter_finding(path, first, tree):
            yield found if complete() else replace(found, severity=Severity.WARNING)


def _programs(context: StageContext, owned: Sequence[str], tree: Tree) -> Iterator[Finding]:
    """Look for missing loaders and libraries, and for unsafe search paths, of the package's programs and libraries."""
    sizes = {place: tree.size(place) or 0 for place in map(tree.place, owned)}
    regular = sorted(path for path, size in sizes.items() if size >= SMALLEST)
    shell = tree.end(_SHELL)
    kinds = elf_kinds(context, [shell, *regular])
    native = kinds.get(shell)
    if native is None:
        return
    # Debug symbols have the shape of a program, but nothing loads them.
    ours = {path for path in regular if kinds.get(path) == native and not path.startswith("/usr/lib/debug/")}
    foreign = {path for path in regular if path in kinds and is_started(path, tree.mode(path))} - ours
    elves = dict(read_elf_files(context, {path: sizes[path] for path in (*sorted(ours), *sorted(foreign))}))
    yield from filter(None, (loader_finding(path, elf, tree) for path, elf in elves.items()))
    loaded = {path: elf for path, elf in elves.items() if path in ours}
    machine = _loader_view(context, loaded.values(), tree, native, kinds)
    for path, elf in loaded.items():
        context.stop.check()
        yield from library_findings(path, elf, machine)
        yield from search_path_findings(path, elf, tree)


def _loader_view(
    context: StageContext, elves: Iterable[Elf], tree: Tree, native: ElfKind, kinds: Mapping[str, ElfKind]
) -> LoaderView:
    """Read the loader's cache, and the kinds of all files that have the name of a needed library."""
    needed = {posixpath.basename(name) for elf in elves for name in elf.needed}
    named = sorted({end for name in needed for end in tree.named(name)})
    return LoaderView(tree, native, loader_cache(context) if needed else {}, {**kinds, **elf_kinds(context, named)})
