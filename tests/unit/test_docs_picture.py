"""The picture of the rooms is that of the code as it is."""

from __future__ import annotations

import re
from html import unescape

import pytest

from docs.draw_rooms import DOT, SVG, arrows, dot

DRAWN = re.compile(r"<title>([^<]+)&#45;&gt;([^<]+)</title>")


@pytest.fixture(scope="module")
def current() -> set[tuple[str, str]]:
    return arrows()


def test_the_description_is_current(current: set[tuple[str, str]]) -> None:
    assert DOT.read_text() == dot(current), "run make docs-picture"


def test_the_picture_shows_the_same_arrows(current: set[tuple[str, str]]) -> None:
    drawn = {(unescape(above), unescape(below)) for above, below in DRAWN.findall(SVG.read_text())}

    assert drawn == current, "run make docs-picture"


def test_workers_and_scheduler_meet_in_the_embedded_stack_alone(current: set[tuple[str, str]]) -> None:
    assert {above for above, below in current if below.startswith("scheduler.") and above.startswith("alts.")} == {
        "alts.embedded"
    }
