"""Faces found by a service, whose workers have as many pictures at once as one stream may."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from cli.detect.options import Asked
from cli.detect.pictures import Outcome, PictureFile, Problem
from utils.domain import DetectRequest
from utils.errors import BackendUnavailable, Code, DeadlineExceeded, FacetError
from utils.memory import tune_heap

if TYPE_CHECKING:
    from utils.service_client import ServiceClient

_PATIENCE = 30.0
"""Seconds that a service which went away has to come back, such as one that is restarted."""
_LOOK_SECONDS = 0.25
_REFUSED = (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)


class ServiceFinder:
    """Finds faces by a service.

    Args:
        client: Of the service.
        most_bytes: Of the largest picture that it is sent.
        asked: What is asked of each picture.
    """

    def __init__(self, client: "ServiceClient", most_bytes: int, asked: Asked) -> None:
        tune_heap()
        self._client, self._most_bytes, self._asked = client, most_bytes, asked
        self._unreadable: deque[tuple[PictureFile, Problem]] = deque()
        self._is_away = False

    def find(self, pictures: Iterable[PictureFile]) -> Iterator[tuple[PictureFile, Outcome]]:
        """What comes of each picture, in the order in which they are done.

        While the service is away, none is failed: it is waited for, and asked again.

        Raises:
            BackendUnavailable: It has not come back.
            FacetError: It does not let this caller in.
        """
        left = iter(pictures)
        while True:
            lost: list[PictureFile] = []
            yield from self._find(left, lost)
            if not lost:
                return
            self._wait()
            left = chain(lost, left)

    def _find(
        self, pictures: Iterator[PictureFile], lost: list[PictureFile]
    ) -> Iterator[tuple[PictureFile, Outcome]]:
        """Until all are done, or the service is away; adds those that it has lost."""
        sent: dict[int, PictureFile] = {}
        self._is_away = False
        for number, outcome in self._client.detect_many(self._requests(pictures, sent)):
            picture = sent.pop(number)
            if isinstance(outcome, BackendUnavailable):
                self._is_away = True
                lost.append(picture)
            elif not isinstance(outcome, FacetError):
                yield picture, outcome
            elif outcome.code in _REFUSED:
                raise outcome
            else:
                yield picture, Problem.of(outcome)
            yield from self._take_unreadable()
        yield from self._take_unreadable()

    def _requests(
        self, pictures: Iterator[PictureFile], sent: dict[int, PictureFile]
    ) -> Iterator[DetectRequest]:
        number = 0
        while not self._is_away and (picture := next(pictures, None)) is not None:
            try:
                request = self._asked.request(picture.read(self._most_bytes))
            except (OSError, FacetError) as error:
                self._unreadable.append((picture, Problem.of(error)))
                continue
            sent[number] = picture
            number += 1
            yield request

    def _take_unreadable(self) -> Iterator[tuple[PictureFile, Outcome]]:
        while self._unreadable:
            yield self._unreadable.popleft()

    def _wait(self) -> None:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                self._client.check_ready(timeout=1.0)
            except (BackendUnavailable, DeadlineExceeded):
                if time.monotonic() > until:
                    raise
            else:
                return
            time.sleep(_LOOK_SECONDS)
