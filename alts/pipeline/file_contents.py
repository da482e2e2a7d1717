"""The contents of many files of the machine, read with few commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from alts.checks.integrity.headers import first_bytes, headers_argv
from alts.pipeline.context import StageContext
from alts.pipeline.output_file import whole_output

_WORDS = 500_000  # bytes of one command's arguments; Linux allows four times as much (execve(2))


def beginnings(
    context: StageContext, paths: Sequence[str], size: int, *, title: str = "first bytes of {} files"
) -> Iterator[tuple[str, bytes]]:
    """Yield each path that can be read, with the first `size` bytes of the file.

    `title`: the line for the log, with "{}" for the number of files.
    Raises what alts.pipeline.output_file.whole_output raises.
    """
    for batch in in_batches(paths, {path: len(path.encode()) + 8 for path in paths}, _WORDS):
        yield from first_bytes(batch, whole_output(context, headers_argv(batch, size), title.format(len(batch))))


def in_batches(paths: Sequence[str], weights: Mapping[str, int], limit: int) -> Iterator[list[str]]:
    """Yield the paths in order, in lists of at most `limit` weight. A path heavier than that has a list of its own."""
    batch: list[str] = []
    weight = 0
    for path in paths:
        if batch and weight + weights[path] > limit:
            yield batch
            batch, weight = [], 0
        batch.append(path)
        weight += weights[path]
    if batch:
        yield batch
