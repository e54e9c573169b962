"""The local socket by which commands reach the supervisor: lines of JSON, as `commands.py` has them.

Whoever may open it may change the models: it belongs to the user of the backend alone (mode 0600).
"""

import contextlib
import logging
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from inference_server.catalogue.commands import Answer, Command, decode, decode_answer, encode, encode_answer
from inference_server.catalogue.table import Reply
from utils.errors import BackendUnavailable, DeadlineExceeded, FacetError
from utils.logs import fields

logger = logging.getLogger(__name__)

NAME: Final = "control.sock"
"""Of the socket, in FACET_STATE_DIR."""

_LONGEST_PATH: Final = 107  # bytes: sockaddr_un of linux/un.h, without the zero at its end
_LONGEST_LINE: Final = 64 * 1024
_CHUNK: Final = 64 * 1024


class ControlSocket:
    """Listens for the supervisor's loop, which calls `handle` when `fileno` can be read; nothing here waits.

    Args:
        path: Where; what an earlier backend has left there is replaced.
        execute: Carries out a command, and answers now or later.

    Raises:
        OSError: It cannot listen there.
    """

    def __init__(self, path: Path, execute: Callable[[Command, Reply], None]) -> None:
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise OSError(f"the path of {NAME} is longer than {_LONGEST_PATH} bytes")
        self._execute = execute
        self._connections: dict[int, _Connection] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(before)
        self._listener.listen()
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)

    def fileno(self) -> int:
        """What can be read when there is something to handle."""
        return self._poll.fileno()

    def handle(self) -> None:
        """Take in what has come, and send what can be sent."""
        for descriptor, events in self._poll.poll(0):
            if descriptor == self._listener.fileno():
                self._accept()
            elif descriptor in self._connections:
                self._serve(self._connections[descriptor], events)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            accepted, _ = self._listener.accept()
            accepted.setblocking(False)
            self._connections[accepted.fileno()] = _Connection(accepted)
            self._poll.register(accepted, select.EPOLLIN)

    def _serve(self, connection: "_Connection", events: int) -> None:
        try:
            if events & select.EPOLLOUT:
                connection.flush()
            for line in connection.lines() if events & ~select.EPOLLOUT else ():
                self._answer(connection, line)
        except (OSError, EOFError):  # its client has left; what it began goes on
            self._close(connection)
        else:
            self._watch(connection)

    def _answer(self, connection: "_Connection", line: bytes) -> None:
        def reply(answer: Answer) -> None:
            connection.send(encode_answer(answer))
            self._watch(connection)

        try:
            command = decode(line)
        except FacetError as error:
            reply(error)
        else:
            logger.info("command", extra=fields(command=type(command).__name__))
            self._execute(command, reply)

    def _watch(self, connection: "_Connection") -> None:
        if not connection.closed:
            waits = select.EPOLLOUT if connection.unsent else 0
            self._poll.modify(connection.socket, select.EPOLLIN | waits)

    def _close(self, connection: "_Connection") -> None:
        del self._connections[connection.socket.fileno()]
        self._poll.unregister(connection.socket)
        connection.close()


class _Connection:
    """A client: what it has sent of a line that is not whole, and what it has not taken yet."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.closed = False
        self.unsent = b""
        self._received = b""

    def lines(self) -> list[bytes]:
        """The lines that are whole now; raises EOFError where the client has left, or sends no lines."""
        chunk = self.socket.recv(_CHUNK)
        *whole, self._received = (self._received + chunk).split(b"\n")
        if not chunk or len(self._received) > _LONGEST_LINE:
            raise EOFError
        return whole

    def send(self, line: bytes) -> None:
        """Send a line, now or when there is room."""
        if not self.closed:
            self.unsent += line
            with contextlib.suppress(OSError):  # a client that has left is found by reading
                self.flush()

    def flush(self) -> None:
        """Send what there is room for."""
        with contextlib.suppress(BlockingIOError):
            self.unsent = self.unsent[self.socket.send(self.unsent) :]

    def close(self) -> None:
        self.closed = True
        self.socket.close()


def call(path: Path, command: Command, timeout: float) -> dict[str, Any]:
    """Have a command carried out by the backend that listens there.

    Args:
        path: Of its socket.
        command: What is to be done.
        timeout: Seconds to wait for the answer.

    Raises:
        FacetError: It was not done, as the class of its reason.
        BackendUnavailable: Nobody listens there.
        DeadlineExceeded: There was no answer in time; what was begun goes on.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
            connection.sendall(encode(command))
            with connection.makefile("rb") as answers:
                line = answers.readline()
        except TimeoutError as error:
            raise DeadlineExceeded("The backend has not answered in time; what was begun goes on.") from error
        except OSError as error:
            raise BackendUnavailable(f"No backend listens at {path}: {error.strerror}") from error
    if not line:
        raise BackendUnavailable("The backend ended before it answered.")
    return decode_answer(line)
