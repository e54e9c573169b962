"""Clients that leave before they have their answer: noticed in a moment, by one thread for all of them."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator

LOOK_SECONDS = 0.05
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

        A client that closes only its sending half counts as gone, as it does for the common proxies.
        Nothing is watched where the server does not show the connection (None).
        """
        if connection is None:
            yield
            return
        number = connection.fileno()
        with self._lock:
            self._watched[number] = left
            if not self._some.is_set():
                self._some.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="departures", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._watched.pop(number, None)

    def _run(self) -> None:
        while True:
            self._some.wait()
            time.sleep(LOOK_SECONDS)
            self._look()

    def _look(self) -> None:
        with self._lock:
            if not self._watched:
                self._some.clear()
                return
            look = select.poll()
            for number in self._watched:
                look.register(number, select.POLLRDHUP)
            for number, _ in look.poll(0):
                self._watched.pop(number)()
