"""The machines of a pool are each taken once, and known until they are gone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alts.runners.base import MachineRequest, Provisioned
from alts.runners.pool.stock import Ready, Stock
from alts.shared.models.platform import Platform
from tests.support.fakes import FakeInstance

TWELVE, THIRTEEN = Platform("debian", "12", "x86_64"), Platform("debian", "13", "x86_64")


class HandClock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def a_stock(clock: HandClock | None = None) -> Stock:
    return Stock(memory=60.0, clock=clock or HandClock())


def filled(stock: Stock, *names: str, platform: Platform = TWELVE) -> list[Ready]:
    requests = [MachineRequest(platform, name, 0, Path("/nonexistent")) for name in names]
    assert stock.expect(requests)
    made = [
        Ready(request, Provisioned(instance=FakeInstance(name=request.name), image={}, tools={}), stock.clock())
        for request in requests
    ]
    assert stock.put(made)
    return made


def test_the_oldest_machine_of_the_platform_is_taken() -> None:
    stock = a_stock()
    filled(stock, "other", platform=THIRTEEN)
    first, second = filled(stock, "first", "second")

    assert [stock.take(TWELVE), stock.take(TWELVE), stock.take(TWELVE)] == [first, second, None]
    assert stock.waiting == {THIRTEEN: 1}


def test_an_architecture_has_several_names() -> None:
    stock = a_stock()
    [made] = filled(stock, "one")

    assert stock.take(Platform("debian", "12", "amd64")) == made
    assert stock.demand == {TWELVE: 1}


def test_of_many_threads_each_gets_another_machine() -> None:
    stock = a_stock()
    made = filled(stock, *(str(number) for number in range(40)))

    with ThreadPoolExecutor(8) as pool:
        taken = [one for one in pool.map(lambda _: stock.take(TWELVE), range(60)) if one is not None]

    assert sorted(one.key for one in taken) == sorted(one.key for one in made)


def test_a_machine_is_known_until_it_is_gone() -> None:
    stock = a_stock()
    filled(stock, "waits")
    taken = stock.take(TWELVE)
    assert taken is not None
    filled(stock, "next")

    assert stock.keys == {("waits", 0), ("next", 0)}
    stock.gone(taken.key)
    assert stock.keys == {("next", 0)}


def test_old_machines_and_those_that_nobody_asks_for_are_taken_back() -> None:
    clock = HandClock()
    stock = a_stock(clock)
    [old] = filled(stock, "old")
    clock.now += 10
    [young] = filled(stock, "young")
    [unwanted] = filled(stock, "unwanted", platform=THIRTEEN)

    def is_wanted(one: Ready) -> bool:
        return one.made_at >= clock.now and one.request.platform == TWELVE

    assert stock.withdraw(unless=is_wanted) == [old, unwanted]
    assert stock.take(TWELVE) == young


def test_requests_are_forgotten_and_the_latest_comes_first() -> None:
    clock = HandClock()
    stock = a_stock(clock)
    stock.take(TWELVE)
    clock.now += 50
    stock.take(TWELVE)
    stock.take(THIRTEEN)

    assert list(stock.demand.items()) == [(THIRTEEN, 1), (TWELVE, 2)]
    clock.now += 50
    assert list(stock.demand.items()) == [(THIRTEEN, 1), (TWELVE, 1)]


def test_a_closed_stock_takes_nothing_more() -> None:
    stock = a_stock()
    made = filled(stock, "one")
    request = MachineRequest(TWELVE, "late", 0, Path("/nonexistent"))

    assert stock.close() == made
    assert not stock.expect([request])
    assert not stock.put(made)
    assert stock.take(TWELVE) is None
