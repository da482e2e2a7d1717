"""Collections of callers and workers have a limit, and items beyond it cost nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from alts.shared.bounds import AtMost, has_more_values
from scheduler.api.routers import ROUTERS

COLLECTIONS = (list, tuple, set, frozenset, dict, Mapping, Sequence)
BODIES = {
    f"{route.path}": route.body_field.field_info.annotation
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute) and route.body_field is not None
}


def collections_in(kind: Any, where: str, seen: frozenset[Any] = frozenset()) -> Iterator[tuple[str, Any, bool]]:
    """Yield name, annotation and whether it is bounded, for every collection that a value of the type may hold."""
    bounded = get_origin(kind) is Annotated and any(isinstance(one, AtMost) for one in get_args(kind)[1:])
    plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    origin, inner = get_origin(plain) or plain, get_args(plain)
    if origin in COLLECTIONS and not (origin is tuple and Ellipsis not in inner and inner):
        yield where, kind, bounded
    for one in inner:
        yield from collections_in(one, where, seen)
    if plain not in seen and (fields := fields_of(plain)):
        hints = get_type_hints(plain, include_extras=True)
        for name in fields:
            yield from collections_in(hints[name], f"{where}.{name}", seen | {plain})


def fields_of(kind: Any) -> list[str]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return list(kind.model_fields)
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


FOUND = [found for path, kind in BODIES.items() for found in collections_in(kind, path)]


def test_every_post_route_is_looked_at() -> None:
    assert {"/tasks/schedule", "/tasks/cancel", "/worker/presence", "/worker/attempts/over"} <= set(BODIES)
    names = {where.rpartition(".")[2] for where, _, _ in FOUND}
    assert {"repositories", "task_ids", "queues", "attempts", "progress"} <= names
    assert {"stages", "findings", "closure", "added", "package"} <= names


@pytest.mark.parametrize(("where", "bounded"), [(where, bounded) for where, _, bounded in FOUND])
def test_every_collection_of_a_body_is_bounded(where: str, bounded: bool) -> None:
    assert bounded, f"{where} has no AtMost"


def test_a_collection_without_a_bound_would_be_found() -> None:
    class Inner(BaseModel):
        words: dict[str, list[str]]

    assert [bounded for _, _, bounded in collections_in(list[Inner], "x")] == [False, False, False]


@pytest.mark.parametrize("item", [{}, "x", 1, None], ids=repr)
@pytest.mark.parametrize("kind", [kind for _, kind, _ in FOUND if get_origin(get_args(kind)[0]) is not Mapping])
def test_what_is_too_long_is_refused_by_its_length_alone(kind: Any, item: Any) -> None:
    most = next(one.most for one in get_args(kind)[1:] if isinstance(one, AtMost))

    assert [error["type"] for error in errors_of(kind, [item] * (most + 1))] == ["too_long"]


@pytest.mark.parametrize("kind", [kind for _, kind, _ in FOUND if get_origin(get_args(kind)[0]) is Mapping])
def test_so_is_a_mapping(kind: Any) -> None:
    assert [error["type"] for error in errors_of(kind, {str(number): None for number in range(101)})] == ["too_long"]


@pytest.mark.parametrize("kind", [kind for _, kind, _ in FOUND if get_origin(get_args(kind)[0]) is not Mapping])
def test_of_many_wrong_items_the_first_is_told(kind: Any) -> None:
    assert {error["loc"][0] for error in errors_of(kind, [object()] * 20)} == {0}


def errors_of(kind: Any, value: Any) -> list[Any]:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python(value)
    return refused.value.errors()


# number of values

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a,[{"\\:\n', max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('b,"[\\', max_size=4), inner, max_size=4),
    max_leaves=25,
)


def count(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(count, inner))


@given(json_values)
def test_json_has_at_most_as_many_values_as_are_counted_without_parsing(value: Any) -> None:
    content = json.dumps(value).encode()
    values = count(value)
    empty = content.count(b"[]") + content.count(b"{}")

    assert not has_more_values(content, values + empty)
    assert has_more_values(content, values - 1) or values == 1


def test_what_a_text_holds_is_not_counted() -> None:
    assert not has_more_values(json.dumps({"evidence": ',[{"\\"' * 100_000}).encode(), 10)
