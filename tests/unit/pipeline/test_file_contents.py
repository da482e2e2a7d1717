"""Many files in few commands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alts.pipeline.file_contents import in_batches


@given(st.dictionaries(st.text(max_size=5), st.integers(0, 20), max_size=30), st.integers(1, 30))
def test_batches_keep_every_path_in_order_and_the_limit(weights: dict[str, int], limit: int) -> None:
    batches = list(in_batches(list(weights), weights, limit))

    assert [path for batch in batches for path in batch] == list(weights)
    assert all(len(batch) == 1 or sum(weights[path] for path in batch) <= limit for batch in batches)
    assert all(batches)


def test_a_batch_is_as_full_as_it_can_be() -> None:
    assert list(in_batches(["a", "b", "c", "d"], {"a": 4, "b": 6, "c": 1, "d": 50}, 10)) == [["a", "b"], ["c"], ["d"]]
