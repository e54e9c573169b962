"""What the processes of the gateway count together, in memory that they share, and how they are now."""

import threading
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Self
from zlib import crc32

from utils.counters import SECOND, Counter, Family, Histogram, Layout, Table, Words, observe
from utils.errors import error_classes
from utils.key_counters import NO_KEY, KeyTable

NO_ROUTE: Final = ""
"""Of requests whose path is none of the gateway's, or whose head could not be read."""

_OUTCOMES: Final = (("200", ""), *((str(one.http_status), one.reason) for one in error_classes()))
_PLACES: Final = {reason: place for place, (_, reason) in enumerate(_OUTCOMES)}

REQUESTS: Final = Counter(
    "facet_http_requests_total",
    "Requests that were answered, by reason and status of docs/errors.md; without a reason they succeeded. "
    "One for each line `request` of the gateway's log.",
    ("status", "reason"),
    _OUTCOMES,
    sparse=True,
)
DURATION: Final = Histogram(
    "facet_http_request_duration_seconds",
    "Time from the end of a request's head to its answer, whatever that was.",
    sparse=True,
)
BODY_BYTES: Final = Counter(
    "facet_http_request_body_bytes_total", "Bytes of the bodies that were taken.", sparse=True
)
_STATUSES: Final = tuple(dict.fromkeys(status for status, _ in _OUTCOMES))
KEY_REQUESTS: Final = Counter(
    "facet_http_key_requests_total",
    "The same requests by the name of the key that was shown.",
    ("status",),
    tuple((status,) for status in _STATUSES),
    sparse=True,
)
LAYOUT: Final = Layout(REQUESTS, DURATION, BODY_BYTES)

_REQUESTS, _DURATION, _BODY_BYTES = LAYOUT.place(REQUESTS), LAYOUT.buckets(DURATION), LAYOUT.place(BODY_BYTES)
_KEY_STATUSES: Final = {reason: _STATUSES.index(status) for status, reason in _OUTCOMES}


def fingerprint(routes: Sequence[str]) -> int:
    """A number that differs where the same word would count something else; not 0."""
    return crc32(repr(routes).encode()) << 32 | LAYOUT.fingerprint ^ Layout(KEY_REQUESTS).fingerprint


def counters_bytes(slots: int, routes: int) -> int:
    """Memory that the counters of so many slots and routes take."""
    return Table.size(LAYOUT, slots, routes) + KeyTable.size(KEY_REQUESTS, slots)


class Now(NamedTuple):
    """How a process is, or all of them together.

    Attributes:
        processes: How many there are.
        connections: How many it has.
        in_flight: Requests from the end of their heads to the end of their answers.
        permits_free: Calls of the backend that it could make beside those that it makes.
        held_bytes: Of bodies.
    """

    processes: int = 0
    connections: int = 0
    in_flight: int = 0
    permits_free: int = 0
    held_bytes: int = 0


class HttpCounters:
    """The counters of one process, and the sight of all.

    Args:
        memory: For counters of this layout and these routes, in all slots.
        slots: How many there are.
        slot: This process's; None where it has none, and counts nothing.
        routes: Templates of all paths.
        now: The words of each slot that say how its process is.
        keyed: Whether callers are known by their keys, for each of which requests are counted, too.
    """

    def __init__(
        self,
        memory: memoryview,
        slots: int,
        slot: int | None,
        routes: Sequence[str],
        now: Sequence[memoryview],
        *,
        keyed: bool = False,
    ) -> None:
        self._routes = {route: series for series, route in enumerate(routes)}
        self._table = Table(memory, LAYOUT, slots, len(routes))
        self._keys = KeyTable(memory[Table.size(LAYOUT, slots, len(routes)) :], KEY_REQUESTS, slots)
        self._of_keys = self._keys.words(slot) if keyed and slot is not None else None
        self._slot, self._now = slot, now
        self._blocks: dict[str, memoryview] = {}
        # `+=` on a word is not atomic, and answers that are streamed end in a thread.
        self._lock = threading.Lock()

    def count(self, route: str, reason: str, seconds: float, body_bytes: int, key: str = NO_KEY) -> None:
        """Count a request that was answered.

        Args:
            route: The template of its path; NO_ROUTE where there is none.
            reason: Of its failure; empty where there is none.
            seconds: Since the end of its head.
            body_bytes: That were taken of it.
            key: The name of the key that was shown; NO_KEY where none is known.
        """
        if self._slot is None:
            return
        with self._lock:
            words = self._blocks.get(route)
            if words is None:
                words = self._blocks[route] = self._table.block(self._slot, self._routes[route])
            words[_REQUESTS + _PLACES[reason]] += 1
            observe(words, _DURATION, int(seconds * SECOND))
            words[_BODY_BYTES] += body_bytes
            if self._of_keys is not None:
                self._of_keys[key][_KEY_STATUSES[reason]] += 1

    def show(self, *now: int) -> None:
        """Let all see how this process is: the members of Now."""
        if self._slot is not None:
            for place, value in enumerate(now):
                self._now[self._slot][place] = value

    def totals(self) -> Iterator[tuple[Family, str, list[tuple[tuple[str], list[int]]]]]:
        """Each family, what its words differ by, and its words by that."""
        sums: dict[str, Words] = {route: self._table.sums(series) for route, series in self._routes.items()}
        for family in LAYOUT.families:
            yield family, "route", [((route,), words.of(family)) for route, words in sums.items()]
        yield KEY_REQUESTS, "key", self._keys.sums()

    def now(self) -> Now:
        """How all processes are together."""
        values = (words[: len(Now._fields)] for words in self._now)
        return Now(*map(sum, zip(*values, strict=True)))

    @classmethod
    def unshared(cls, routes: Sequence[str], *, keyed: bool = False) -> Self:
        """Some that no other process has, for one without a master."""
        memory = memoryview(bytearray(counters_bytes(1, len(routes))))
        now = [memoryview(bytearray(8 * len(Now._fields))).cast("Q")]
        return cls(memory, 1, 0, routes, now, keyed=keyed)
