"""Rules of the memory that the processes of the gateway share."""

from dataclasses import dataclass
from typing import Any

from gateway.counters import NO_ROUTE, REQUESTS, HttpCounters, counters_bytes, fingerprint
from gateway.server.slots import SLOT_BYTES, Slots
from tests.support.gateway_fakes import FakeBackend, app_for

ROUTES = [NO_ROUTE, "/predict"]


@dataclass
class Worker:
    """What gunicorn's master knows of a process."""

    slot: int | None


def counters(slots: Slots, slot: int | None, routes: list[str] = ROUTES) -> HttpCounters:
    """Those of a process."""
    now = [slots.now(each) for each in range(slots.count)]
    return HttpCounters(slots.part(fingerprint(routes)), slots.count, slot, routes, now)


def counted(one: HttpCounters) -> int:
    """All requests."""
    [counted] = [words for family, _, words in one.totals() if family is REQUESTS]
    return sum(sum(own) for _, own in counted)


def test_a_process_gets_a_slot_that_no_living_one_has() -> None:
    """Where there is none left it has none, and counts nothing."""
    slots = Slots(3)
    workers = [Worker(slots.free([])), Worker(2)]
    assert [worker.slot for worker in workers] == [0, 2]
    workers.append(Worker(slots.free(workers)))
    assert (workers[-1].slot, slots.free(workers)) == (1, None)
    extra = counters(slots, None)
    extra.count("/predict", "", 0.1, 5)
    extra.show(1, 2, 3, 4, 5)
    assert counted(extra) == 0
    assert extra.now().processes == 0
    assert slots.free(workers[1:]) == 0


def test_what_a_process_counted_stays_and_how_it_was_goes_with_it() -> None:
    """Its successor counts on in its slot."""
    slots = Slots(2)
    for seconds in (0.1, 0.2):
        one = counters(slots, 1)
        one.count("/predict", "QUEUE_FULL", seconds, 0)
        one.show(1, 7, 3, 9, 100)
    other = counters(slots, 0)
    other.show(1, 1, 0, 9, 0)
    assert other.now() == (2, 8, 3, 18, 100)
    slots.leave(1)
    slots.leave(None)
    assert other.now() == (1, 1, 0, 9, 0)
    assert counted(other) == 2


def test_code_that_counts_otherwise_has_words_of_its_own() -> None:
    """A reload brings another route; after several of them, those of the first are given to others."""
    slots = Slots(2)
    counters(slots, 0).count("/predict", "", 0.1, 5)
    changed = [*ROUTES, "/new"]
    one = counters(slots, 1, changed)
    assert counted(one) == 0
    one.count("/new", "", 0.1, 5)
    assert counted(counters(slots, 0, changed)) == 1
    assert counted(counters(slots, 1)) == 1
    for number in range(8):
        one = counters(slots, 0, [*ROUTES, f"/new{number}"])
        assert counted(one) == 0
        one.count("/predict", "", 0.1, 5)
        assert counted(one) == 1


def test_a_slot_has_room_for_more_routes_than_there_are() -> None:
    """Of all applications of the gateway."""
    made: Any = app_for(FakeBackend(), FACET_TORCHSERVE_HTTP_ADDRESS="127.0.0.1:0")
    routes = {NO_ROUTE, *made.routes()}.union(*(other.routes() for other in made.others.values()))
    assert "/metrics" in routes
    slots = 9
    assert counters_bytes(slots, round(len(routes) * 1.5)) < SLOT_BYTES * (slots + 1)
