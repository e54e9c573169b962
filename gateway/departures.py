"""Clients that leave before they have their answer: noticed at once, by one thread for all of them."""

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator

_GONE = select.EPOLLRDHUP | select.EPOLLONESHOT


class Departures:
    """Watches connections whose requests are being answered."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._lock = threading.Lock()
        self._watched: dict[int, tuple[socket.socket, Callable[[], None]]] = {}
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
            self._watched[number] = (connection, left)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="departures", daemon=True)
                self._thread.start()
        self._epoll.register(number, _GONE)
        try:
            yield
        finally:
            with self._lock:
                del self._watched[number]
            self._epoll.unregister(number)

    def _run(self) -> None:
        while True:
            for number, _ in self._epoll.poll():
                with self._lock:
                    connection, left = self._watched.get(number, (None, None))
                    # The number may have passed to another connection since the event.
                    if connection is not None and left is not None and _gone(connection):
                        left()


def _gone(connection: socket.socket) -> bool:
    look = select.poll()
    look.register(connection, select.POLLRDHUP)
    return bool(look.poll(0))
