"""The soak from its start to its end."""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple
from pathlib import Path

from tests.soak.books import Books
from tests.soak.events import EVENTS, full_queue
from tests.soak.harm import slow_bodies
from tests.soak.leaks import footprint, listens, roles
from tests.soak.load import Tally, Traffic
from tests.soak.photos import photos
from tests.soak.report import Report, Row
from tests.soak.scene import Event, Scene
from tests.soak.stage import ENDPOINTS, Stage, stage
from tests.support.processes import alive
from utils.errors import FacetError

CALM = Event("calm", lambda _: None)
_PICTURES = 24
_PAUSE_SECONDS = 0.2


def soak(
    folder: Path, seconds: float, *, calm: int, say: Callable[[str], None], kserve: Path | None = None
) -> tuple[Report, list[str]]:
    """Run the soak; gives its report and everything that is wrong.

    Args:
        folder: For what the hooks need.
        seconds: How long it takes in all, about; each event happens at least once.
        calm: Requests before the first event and after the last, between which memory is compared.
        say: Told what happens.
        kserve: The interpreter of an environment with that package; None where its clients are left out.
    """
    end = time.monotonic() + seconds
    with stage(folder, kserve) as facet:
        report, run = Report(), _Run(facet, say)
        started = time.monotonic()
        run.crowd()
        run.calm(calm)
        report.before = footprint(facet)
        took = time.monotonic() - started
        say(f"calm: {calm} requests in {took:.0f} s")
        run.events(end - took)
        run.calm(calm)
        report.after = footprint(facet)
        run.close_books()
        for line in _sums(facet):
            say(line)
        report.rows, report.troubles = run.rows, run.troubles
        report.troubles += facet.scraper.faults
        report.troubles += report.before.leaks(report.after)
        report.troubles += _ending(facet)
        twice = sum(len(journal["answered twice"]) for journal in facet.journals)
        report.troubles += [f"{twice} requests were answered twice"] if twice else []
        killed = [
            line["key"]
            for journal in facet.journals
            for line in journal["request in flight at a crash"]
            if line["deaths"] > 1
        ]
    return report, report.faults(killed)


class _Run:
    """What happens, one thing after the other.

    Attributes:
        rows: In the order of time.
        troubles: What is wrong beside requests.

    Args:
        facet: To what.
        say: Told what.
    """

    def __init__(self, facet: Stage, say: Callable[[str], None]) -> None:
        self._facet, self._say = facet, say
        self._pictures = photos(_PICTURES)
        self._next_pictures = itertools.cycle(self._pictures)
        self._books = Books(facet)
        self.rows: list[Row] = []
        self.troubles: list[str] = []

    def crowd(self) -> None:
        """As many connections and requests at once as there ever are: what these leave is no growth."""
        for event in EVENTS:
            if event.happen in {slow_bodies, full_queue}:
                tallies = self._row(event)
                with self._facet.traffic(self._pictures, tallies, pause=0) as traffic:
                    event.happen(Scene(self._facet, traffic, self._pictures[0], tallies))

    def calm(self, requests: int) -> None:
        """Load that nothing disturbs, as much of it by each endpoint."""
        with self._facet.traffic(self._pictures, self._row(CALM), pause=0) as traffic:
            traffic.go_on(requests // len(ENDPOINTS))

    def events(self, end: float) -> None:
        """Let everything happen once, and again until the time is over."""
        self.close_books()
        for number in itertools.count():
            for starts_anew, events in itertools.groupby(EVENTS, lambda event: event.goes):
                if not self._happen(events, end if number else math.inf):
                    return
                self._facet.settle()
                if starts_anew:
                    self._books.open()
                else:
                    self.close_books()

    def close_books(self) -> None:
        """Compare what callers were answered with what was counted; nobody asks now."""
        self.troubles += self._books.close()

    def _row(self, event: Event) -> dict[str, Tally]:
        row = Row(event, {endpoint: Tally() for endpoint in ENDPOINTS})
        self.rows.append(row)
        return row.tallies

    def _happen(self, events: Iterable[Event], end: float) -> bool:
        """Let some happen, under load; gives whether all have, and have ended as they should."""
        with self._facet.traffic(self._pictures, self._row(CALM), pause=_PAUSE_SECONDS) as traffic:
            traffic.turn()
            return all(time.monotonic() < end and self._happens(event, traffic) for event in events)

    def _happens(self, event: Event, traffic: Traffic) -> bool:
        """Let an event happen; gives whether it has ended as it should."""
        facet, tallies = self._facet, self._row(event)
        traffic.begin(tallies)
        started = time.monotonic()
        try:
            traffic.turn()  # what is in flight when it happens is counted here, too
            event.happen(Scene(facet, traffic, next(self._next_pictures), tallies))
            facet.settle()
            traffic.turn()
        except (AssertionError, FacetError) as error:  # the table is wanted all the same
            last = facet.journal.tail()
            notes = " ".join(getattr(error, "__notes__", ()))
            self.troubles.append(f"{event.name}: {error} {notes}; the backend's last lines:\n{last}")
            return False
        self._say(f"{event.name}: {time.monotonic() - started:.1f} s, {_summary(tallies)}")
        return True


def _sums(facet: Stage) -> Iterator[str]:
    """How much of what there was that is in no table."""
    yield f"changes of models: {', '.join(f'{way} {n}' for way, n in facet.operators.counts.items())}"
    yield f"{facet.scraper.count} scrapes, {facet.collector.exports} exports of spans"
    crashed = [line for journal in facet.journals for line in journal["worker crashed"]]
    times = [line["time"] for line in crashed if line.get("process") == "admin"]
    hung = sum(len(journal["worker hung"]) for journal in facet.journals)
    yield f"deaths: {len(crashed)}, of these {hung} hung; the admin process at {', '.join(times)}"


def _summary(tallies: dict[str, Tally]) -> str:
    return ", ".join(
        f"{endpoint} {tally.sent} sent, {tally.failed + tally.wrong} failed"
        for endpoint, tally in tallies.items()
    )


def _ending(facet: Stage) -> list[str]:
    """Stop everything; gives what is left of it."""
    pids = [pid for members in roles(facet).values() for pid in members]
    statuses = facet.stop()
    found = [f"exit statuses {statuses}"] if statuses != (0, 0) else []
    found += [f"process {pid} still lives" for pid in pids if alive(pid)]
    return found + [
        f"somebody listens at {address}" for address in astuple(facet.addresses) if listens(address)
    ]
