"""The picture of the rooms matches the code."""

from __future__ import annotations

import re
from html import unescape

import pytest

from docs.draw_rooms import DOT, SVG, Arrow, arrows, dot

DRAWN = re.compile(r"<title>([^<]+)&#45;&gt;([^<]+)</title>")


@pytest.fixture(scope="module")
def current() -> set[Arrow]:
    return arrows()


def test_the_description_is_current(current: set[Arrow]) -> None:
    assert DOT.read_text() == dot(current), "run make docs-picture"


def test_the_picture_shows_the_same_arrows(current: set[Arrow]) -> None:
    drawn = {(unescape(above), unescape(below)) for above, below in DRAWN.findall(SVG.read_text())}

    assert drawn == current, "run make docs-picture"


def test_workers_and_scheduler_meet_in_the_embedded_stack_alone(current: set[Arrow]) -> None:
    assert {above for above, below in current if below.startswith("scheduler.") and above.startswith("alts.")} == {
        "alts.embedded"
    }
