"""The soak from its start to its end."""

import itertools
import time
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

from tests.soak.events import EVENTS, full_queue, slow_bodies
from tests.soak.leaks import footprint, listens, roles
from tests.soak.load import Tally
from tests.soak.photos import Photo, photos
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
    report = Report()
    end = time.monotonic() + seconds
    with stage(folder, kserve) as facet:
        pictures = photos(_PICTURES)
        started = time.monotonic()
        _crowd(facet, pictures, report)
        _calm(facet, pictures, report, calm)
        report.before = footprint(facet)
        took = time.monotonic() - started
        say(f"calm: {calm} requests in {took:.0f} s")
        _events(facet, pictures, report, end - took, say)
        _calm(facet, pictures, report, calm)
        report.after = footprint(facet)
        say(f"changes of models: {', '.join(f'{way} {n}' for way, n in facet.operators.counts.items())}")
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


def _row(report: Report, event: Event) -> dict[str, Tally]:
    row = Row(event, {endpoint: Tally() for endpoint in ENDPOINTS})
    report.rows.append(row)
    return row.tallies


def _crowd(facet: Stage, pictures: list[Photo], report: Report) -> None:
    """As many connections and requests at once as there ever are: what these leave behind is no growth."""
    for event in EVENTS:
        if event.happen in {slow_bodies, full_queue}:
            tallies = _row(report, event)
            with facet.traffic(pictures, tallies, pause=0) as traffic:
                event.happen(Scene(facet, traffic, pictures[0], tallies))


def _calm(facet: Stage, pictures: list[Photo], report: Report, requests: int) -> None:
    """Load that nothing disturbs, as much of it by each endpoint."""
    with facet.traffic(pictures, _row(report, CALM), pause=0) as traffic:
        traffic.go_on(requests // len(ENDPOINTS))


def _events(
    facet: Stage, pictures: list[Photo], report: Report, end: float, say: Callable[[str], None]
) -> None:
    """Let everything happen once, and again until the time is over."""
    with facet.traffic(pictures, _row(report, CALM), pause=_PAUSE_SECONDS) as traffic:
        traffic.turn()
        for number, event in enumerate(itertools.cycle(EVENTS)):
            if number >= len(EVENTS) and time.monotonic() >= end:
                return
            tallies = _row(report, event)
            traffic.begin(tallies)
            started = time.monotonic()
            try:
                traffic.turn()  # what is in flight when it happens is counted here, too
                event.happen(Scene(facet, traffic, pictures[number % len(pictures)], tallies))
                facet.settle()
                traffic.turn()
            except (AssertionError, FacetError) as error:  # the table is wanted all the same
                last = facet.journal.tail()
                notes = " ".join(getattr(error, "__notes__", ()))
                report.troubles.append(f"{event.name}: {error} {notes}; the backend's last lines:\n{last}")
                return
            say(f"{event.name}: {time.monotonic() - started:.1f} s, {_summary(tallies)}")


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
