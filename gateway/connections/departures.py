"""Clients that leave before they have their answer: noticed in a moment, by one thread for all of them."""

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.05
"""Between two looks at all connections: what is answered sooner costs none."""


class Departures:
    """Watches connections whose requests are being answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[int, Callable[[], None]] = {}
        self._some = threading.Event()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watch(self, connection: socket.socket | None, left: Callable[[], None]) -> Iterator[None]:
        """Call `left`, from another thread, should the client close its connection meanwhile.

        It may be called a moment after the watch has ended, too.

        A client that closes only its sending half counts as gone, as it does for the common proxies.
        Nothing is watched where the server does not show the connection (None).
        """
        if connection is None:
            yield
            return
        number = connection.fileno()
        try:
            with self._lock:
                self._watched[number] = left
                self._begin()
            yield
        finally:
            with self._lock:
                self._watched.pop(number, None)

    def _begin(self) -> None:
        if not self._some.is_set():
            self._some.set()
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="departures", daemon=True)
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        while True:
            self._some.wait()
            time.sleep(_LOOK_SECONDS)
            try:
                gone = self._look()
            except (OSError, MemoryError):  # the next look may find what this one needed
                logger.exception("departures not seen")
                continue
            for left in gone:
                try:
                    left()
                except Exception:  # whatever it was, others leave, too
                    logger.exception("a departure was not passed on")

    def _look(self) -> list[Callable[[], None]]:
        """Take those who have left from the watch, and give what is to be called, without the lock."""
        with self._lock:
            if not self._watched:
                self._some.clear()
                return []
            look = select.poll()
            for number in self._watched:
                look.register(number, select.POLLRDHUP)
            return [self._watched.pop(number) for number, _ in look.poll(0)]
