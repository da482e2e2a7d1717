"""ELF files of the machine and the cache of its dynamic loader, read within bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from alts.checks.integrity.elf import HEADER_SIZE, Elf, ElfKind, kind_of, read_elf
from alts.checks.integrity.loader_cache import CACHE_PATH, read_loader_cache
from alts.pipeline.context import StageContext
from alts.pipeline.file_contents import beginnings, in_batches
from alts.pipeline.output_file import whole_output

_BATCH = 16_000_000  # bytes of ELF files that are held in memory at a time
_LARGEST = 400_000_000  # bytes of a file that is read; nothing that Debian 12 ships is larger
_TOTAL = 2_000_000_000  # bytes that are read of one package
_TEXTS = 64_000_000  # characters that are kept of what those files name
_CACHE_LIMIT = 16_000_000  # bytes of ld.so.cache; with ten thousand libraries it has two million


def elf_kinds(context: StageContext, paths: Sequence[str]) -> Mapping[str, ElfKind]:
    """Return path → kind for the programs and libraries among `paths`. Other files are left out."""
    kinds = ((path, kind_of(first)) for path, first in beginnings(context, paths, HEADER_SIZE))
    return {path: kind for path, kind in kinds if kind}


def read_elf_files(context: StageContext, sizes: Mapping[str, int]) -> Iterator[tuple[str, Elf]]:
    """Yield path and dynamic section of each ELF file in `sizes` that makes sense.

    `sizes`: path → bytes, as the snapshot has them. Files that are too large, or change while they are read, are left
    out. Reading ends early, with a line in the log, when the files together exceed a bound.
    """
    total = length = 0
    for batch in in_batches([path for path, size in sizes.items() if size <= _LARGEST], sizes, _BATCH):
        total += sum(sizes[path] for path in batch)
        if total > _TOTAL:
            context.log.line("[programs and libraries are too large: the rest is not checked]")
            return
        for path, content in _contents(context, batch, sizes):
            elf = read_elf(content)
            if elf is None:
                continue
            length += elf.length
            if length > _TEXTS:
                context.log.line("[programs and libraries name too many files: the rest is not checked]")
                return
            yield path, elf


def _contents(context: StageContext, batch: Sequence[str], sizes: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    title = f"{len(batch)} programs and libraries"
    content = whole_output(context, ("cat", "--", *batch), title, limit=_LARGEST)
    if len(content) != sum(sizes[path] for path in batch):
        context.log.line("[files changed while they were read: not checked]")
        return
    start = 0
    for path in batch:
        yield path, content[start : start + sizes[path]]
        start += sizes[path]


def loader_cache(context: StageContext) -> Mapping[tuple[str, ElfKind], str]:
    """Return (name, kind) → path of the machine's ld.so.cache; empty if there is none."""
    try:
        return read_loader_cache(context.instance.pull(CACHE_PATH, stop=context.stop, limit=_CACHE_LIMIT))
    except FileNotFoundError:
        return {}
