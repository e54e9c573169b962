"""Who reads the metrics of both processes during the soak, as Prometheus does."""

import contextlib
import http.client
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from tests.support.credentials import Credentials
from tests.support.metrics import Sample, Scrape, fallen, scrape

_PAUSE_SECONDS = 2.0
_OF_VERSIONS = "model"
"""The label of what is told no longer when a version is unregistered."""
_ALWAYS = {"", "face_detection"}
_STARTED = "facet_start_time_seconds"


class Scraper:
    """Reads them every two seconds, and keeps what is wrong with them.

    Attributes:
        count: Scrapes that have succeeded.
        faults: Scrapes that failed, and counters that have fallen.

    Args:
        addresses: Of the metrics, by the name of who tells them.
        shown: Who reads.
    """

    def __init__(self, addresses: Mapping[str, str], shown: Credentials) -> None:
        self._addresses, self._shown = addresses, shown
        self._last: dict[str, Scrape] = {}
        self._excused: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scraper")
        self.count = 0
        self.faults: list[str] = []

    def __enter__(self) -> "Scraper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def look(self, who: str) -> Scrape:
        """What one of them tells now."""
        return scrape(self._addresses[who], self._shown.headers)

    @contextlib.contextmanager
    def excusing(self, who: str) -> Iterator[None]:
        """Scrapes may fail meanwhile."""
        self._excused.add(who)
        try:
            yield
        finally:
            self._excused.discard(who)

    def _run(self) -> None:
        while not self._stop.wait(_PAUSE_SECONDS):
            for who in self._addresses:
                self._compare(who)

    def _compare(self, who: str) -> None:
        excused = who in self._excused
        try:
            now = self.look(who)
        except (OSError, http.client.HTTPException, AssertionError) as error:
            if not excused and who not in self._excused:
                at = datetime.now(UTC).isoformat(timespec="milliseconds")  # as the log has it
                self.faults.append(f"scrape of the {who} at {at}: {error!r}")
            return
        self.count += 1
        before = self._last.get(who)
        self._last[who] = now
        if before is not None and before.value(_STARTED) == now.value(_STARTED):
            lost = [sample for sample in fallen(before, now) if sample in now.samples or not _may_go(sample)]
            self.faults += [f"{sample} of the {who} has fallen" for sample in lost]


def _may_go(sample: Sample) -> bool:
    """Whether it is of a version that can be unregistered."""
    return dict(sample[1]).get(_OF_VERSIONS, "") not in _ALWAYS
