"""The connections by which the supervisor is asked: of a Unix socket, and those that a process inherits.

Only the user whose backend it is, and root, can open the socket. A client that leaves undoes nothing: its
command is carried out, and the answer dropped.
"""

import contextlib
import logging
import os
import select
import socket
import struct
from pathlib import Path
from typing import Any, Final

from inference_server.catalogue.commands import Command
from inference_server.catalogue.control_connection import Connection, Execute
from inference_server.catalogue.lines import decode_answer, encode
from inference_server.catalogue.request_log import logged
from utils.errors import BackendUnavailable, DeadlineExceeded
from utils.logs import fields
from utils.settings import InvalidSetting

logger = logging.getLogger(__name__)

NAME: Final = "control.sock"
"""Of the socket, in FACET_STATE_DIR."""

_LONGEST_PATH: Final = 107  # struct sockaddr_un has 108 bytes, the last of them 0
_WAITING_TO_CONNECT: Final = 16


class ControlSocket:
    """The supervisor's side, for its loop: `handle` is to be called whenever `fileno` can be read.

    Args:
        execute: Carries out the commands.
    """

    def __init__(self, execute: Execute) -> None:
        self._path: Path | None = None
        self._execute = execute
        self._connections: dict[int, Connection] = {}
        self._listener: socket.socket | None = None
        self._epoll = select.epoll()

    def listen(self, path: Path) -> None:
        """Take connections of a socket, too; for once.

        Args:
            path: Where it is to be; one that a killed backend has left there is replaced.

        Raises:
            InvalidSetting: The path is too long.
            OSError: There can be no socket at this path.
        """
        self._listener, self._path = _listen(path), path
        # Edge-triggered: one for which there is no descriptor left must not wake the loop again and again.
        self._epoll.register(self._listener, select.EPOLLIN | select.EPOLLET)

    def adopt(self, connected: socket.socket) -> None:
        """Take commands of this connection, too, until the other end is closed, whose process logs them."""
        self._connections[connected.fileno()] = Connection(connected, self._epoll, self._execute)

    def fileno(self) -> int:
        """The descriptor that can be read when there is something to handle."""
        return self._epoll.fileno()

    def handle(self) -> None:
        """Accept, read, carry out, answer: whatever can be done without waiting."""
        for descriptor, events in self._epoll.poll(0):
            if self._listener is not None and descriptor == self._listener.fileno():
                self._accept(self._listener)
            elif not self._connections[descriptor].handle(events):
                self._connections.pop(descriptor).close()

    def close(self) -> None:
        """Close all connections, and remove the socket."""
        if self._listener is not None and self._path is not None:
            self._path.unlink(missing_ok=True)
            self._listener.close()
        for connection in self._connections.values():
            connection.close()
        self._epoll.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                logger.error("control connection not accepted", extra=fields(reason=error.strerror))
                return
            pid, uid, _ = struct.unpack("3i", accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            execute = logged(self._execute, uid=uid, client_pid=pid)
            self._connections[accepted.fileno()] = Connection(accepted, self._epoll, execute)


def _listen(path: Path) -> socket.socket:
    _check_length(path)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.bind(str(path))
        path.chmod(0o600)  # before anybody can connect
        listener.listen(_WAITING_TO_CONNECT)
    except OSError:
        listener.close()
        raise
    return listener


def _check_length(path: Path) -> None:
    length = len(os.fsencode(path))
    if length > _LONGEST_PATH:
        raise InvalidSetting(
            f"FACET_STATE_DIR is too long: {path} has {length} bytes; accepted for a socket: {_LONGEST_PATH} "
            "at most"
        )


def call(path: Path, command: Command, timeout: float) -> dict[str, Any]:
    """The client's side: have a command carried out, and give what was done.

    Args:
        path: Of the socket.
        command: What to do.
        timeout: Seconds to wait for the answer.

    Raises:
        InvalidSetting: The path is too long.
        BackendUnavailable: Nobody listens there, or it has ended meanwhile.
        DeadlineExceeded: There is no answer yet; the command is carried out all the same.
        FacetError: What the backend says: a ManagementError, mostly.
    """
    _check_length(path)
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
        client.settimeout(timeout)
        try:
            client.connect(str(path))
        except OSError as error:
            raise BackendUnavailable(
                f"No backend listens at {path} ({error.strerror}); it must run with the same "
                "FACET_STATE_DIR, and as this user"
            ) from error
        try:
            client.sendall(encode(command))
            with client.makefile("rb") as answers:
                line = answers.readline()
        except TimeoutError as error:
            raise unanswered(timeout) from error
        except OSError:
            line = b""
    if not line.endswith(b"\n"):
        raise ended()
    return decode_answer(line)


def unanswered(seconds: float) -> DeadlineExceeded:
    """The error of a command that has not been answered within its time."""
    return DeadlineExceeded(
        f"The backend has not answered within {seconds:g} s; what was asked may be done yet"
    )


def ended() -> BackendUnavailable:
    """The error of a command that nobody answers any more."""
    return BackendUnavailable(
        "The backend ended before it had answered; see what is registered, and try again"
    )
