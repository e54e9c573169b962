"""The load: clients that send photographs without end and compare every answer, counted by event."""

import hashlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.soak.endpoints import Answer, Caller
from tests.soak.photos import Photo
from tests.support.processes import wait_until

_AFTER_REFUSAL_SECONDS = 0.2


@dataclass
class Tally:
    """What became of the requests that were sent through one endpoint during one event.

    Attributes:
        told: What the last one was told that was refused, or found no backend.
        crashed: Checksums, as in the log, of pictures that were refused because workers died with them in
            flight.
    """

    sent: int = 0
    failed: int = 0
    wrong: int = 0
    refused: int = 0
    gone: int = 0
    unknown: int = 0
    repeated: int = 0
    slowest: float = 0.0
    troubles: list[str] = field(default_factory=list)
    told: str = ""
    crashed: list[str] = field(default_factory=list)


class Load:
    """Clients, each a thread, through one endpoint.

    Bytes behind the picture make each request's another: a picture that two workers had in flight when the
    test killed both would rightly be taken for what killed them.
    """

    def __init__(
        self,
        callers: Sequence[Callable[[], Caller]],
        photos: Sequence[Photo],
        tally: Tally,
        *,
        pause: float = 0.0,
    ) -> None:
        self._photos = photos
        self._pause = pause
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._tally = tally
        self._answered = [0] * len(callers)
        self._threads = [
            threading.Thread(target=self._run, args=(index, caller), name=f"load {index}")
            for index, caller in enumerate(callers)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def begin(self, tally: Tally) -> None:
        """Count the requests that are sent from now on here."""
        self._tally = tally

    @property
    def answered(self) -> int:
        """Requests answered rightly so far."""
        return sum(self._answered)

    def go_on(self, requests: int) -> None:
        """Wait until so many more have been answered."""
        until = self.answered + requests
        try:
            wait_until(lambda: self.answered >= until, f"{requests} more answers", 120)
        except AssertionError as error:
            raise AssertionError(f"{error}; until now {self._tally}") from None

    def turn(self) -> None:
        """Wait until every client has been answered once more: what is in flight now is then done."""
        until = [count + 1 for count in self._answered]
        wait_until(
            lambda: all(count >= least for count, least in zip(self._answered, until, strict=True)),
            "one more answer for every client",
            120,
        )

    def _run(self, index: int, connect: Callable[[], Caller]) -> None:
        caller = connect()
        choice = random.Random(index)
        while not self._stop.is_set():
            photo = choice.choice(self._photos)
            picture = photo.data + b"%d" % next(self._numbers)
            tally = self._tally
            started = time.monotonic()
            answer = caller.ask(picture)
            self._count(tally, photo, picture, answer, time.monotonic() - started)
            if answer.faces is not None and photo.accepts(answer.faces):
                self._answered[index] += 1
            self._stop.wait(self._pause if answer.faces is not None else _AFTER_REFUSAL_SECONDS)
        caller.close()

    def _count(self, tally: Tally, photo: Photo, picture: bytes, answer: Answer, seconds: float) -> None:
        with self._lock:
            tally.sent += 1
            tally.slowest = max(tally.slowest, seconds)
            tally.repeated += answer.repeated
            tally.refused += answer.refused
            tally.gone += answer.gone
            tally.unknown += answer.unknown
            if answer.faces is not None:
                if not photo.accepts(answer.faces):
                    tally.wrong += 1
                    tally.troubles.append(f"{photo.name}: {answer.faces} instead of {photo.faces}")
            elif answer.wrong:
                tally.wrong += 1
                tally.troubles.append(f"{photo.name}: {answer.wrong}")
            elif "WORKER_CRASHED" in answer.trouble:
                refused = answer.picture or picture
                tally.crashed.append(hashlib.sha256(b"14:face_detection" + refused).hexdigest())
            elif answer.refused or answer.gone or answer.unknown:
                tally.told = answer.trouble
            else:
                tally.failed += 1
                tally.troubles.append(f"{answer.trouble} after {seconds:.1f} s")


class Traffic:
    """The load of all endpoints, counted by event and endpoint."""

    def __init__(self, loads: dict[str, Load]) -> None:
        self._loads = loads

    def begin(self, tallies: dict[str, Tally]) -> None:
        """Count the requests that are sent from now on here, by endpoint."""
        for endpoint, load in self._loads.items():
            load.begin(tallies[endpoint])

    def go_on(self, requests: int) -> None:
        """Wait until so many more have been answered, through each endpoint."""
        for load in self._loads.values():
            load.go_on(requests)

    def turn(self) -> None:
        """Wait until what is in flight now is done."""
        for load in self._loads.values():
            load.turn()
