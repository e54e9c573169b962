"""The Unix socket by which operators reach the supervisor: lines of JSON, a client's one after the other.

Only the user whose backend it is, and root, can open it. A client that leaves undoes nothing: its command is
carried out, and the answer dropped.
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
from utils.errors import BackendUnavailable, DeadlineExceeded, MalformedRequest
from utils.logs import fields
from utils.settings import InvalidSetting

logger = logging.getLogger(__name__)

NAME: Final = "control.sock"
"""Of the socket, in FACET_STATE_DIR."""

_LONGEST_PATH: Final = 107  # struct sockaddr_un has 108 bytes, the last of them 0
_LONGEST_LINE: Final = 1 << 20
_CHUNK: Final = 65536
_WAITING_TO_CONNECT: Final = 16

Execute = Callable[[Command, Callable[[Answer], None]], None]
"""Carries out a command, and gives the answer to a function, now or later."""


class ControlSocket:
    """The supervisor's side, for its loop: `handle` is to be called whenever `fileno` can be read.

    Args:
        path: Where the socket is to be; one that a killed backend has left there is replaced.
        execute: Carries out the commands.

    Raises:
        InvalidSetting: The path is too long.
        OSError: There can be no socket at this path.
    """

    def __init__(self, path: Path, execute: Execute) -> None:
        self._path = path
        self._execute = execute
        self._connections: dict[int, _Connection] = {}
        self._listener = _listen(path)
        self._epoll = select.epoll()
        # Edge-triggered: one for which there is no descriptor left must not wake the loop again and again.
        self._epoll.register(self._listener, select.EPOLLIN | select.EPOLLET)

    def fileno(self) -> int:
        """The descriptor that can be read when there is something to handle."""
        return self._epoll.fileno()

    def handle(self) -> None:
        """Accept, read, carry out, answer: whatever can be done without waiting."""
        for descriptor, events in self._epoll.poll(0):
            if descriptor == self._listener.fileno():
                self._accept()
            elif not self._connections[descriptor].handle(events):
                self._connections.pop(descriptor).close()

    def close(self) -> None:
        """Close all connections, and remove the socket."""
        self._path.unlink(missing_ok=True)
        self._listener.close()
        for connection in self._connections.values():
            connection.close()
        self._epoll.close()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                logger.error("control connection not accepted", extra=fields(reason=error.strerror))
                return
            self._connections[accepted.fileno()] = _Connection(accepted, self._epoll, self._execute)


class _Connection:
    """A client. Only `ControlSocket.handle` closes it, so that no event is taken for that of another."""

    def __init__(self, accepted: socket.socket, epoll: select.epoll, execute: Execute) -> None:
        accepted.setblocking(False)
        self._socket = accepted
        self._epoll = epoll
        self._execute = execute
        self._received = bytearray()
        self._unsent = bytearray()
        self._ended = False
        self._busy = False
        epoll.register(accepted, select.EPOLLIN)

    def handle(self, events: int) -> bool:
        """Go on; gives whether it is still open."""
        if events & select.EPOLLIN:
            self._receive()
        self._carry_out()
        self._flush()
        self._watch()
        left = events & (select.EPOLLHUP | select.EPOLLERR)
        return not left and (self._busy or bool(self._unsent) or not self._ended)

    def close(self) -> None:
        """Close it; what is answered from now on is dropped."""
        self._socket.close()

    def _receive(self) -> None:
        try:
            chunk = self._socket.recv(_CHUNK)
        except OSError:  # it has left
            chunk = b""
        self._received += chunk
        self._ended = not chunk
        if len(self._received) > _LONGEST_LINE:
            self._ended = True
            self._received.clear()
            self._unsent += encode_answer(MalformedRequest(f"More than {_LONGEST_LINE} bytes came at once"))

    def _carry_out(self) -> None:
        """Carry out what has come, up to a command that takes longer."""
        while not self._busy and b"\n" in self._received:
            line, _, self._received = self._received.partition(b"\n")
            self._busy = True
            try:
                command = decode(bytes(line))
            except MalformedRequest as error:
                self._answer(error)
            else:
                self._execute(command, self._answer)

    def _answer(self, answer: Answer) -> None:
        self._busy = False
        self._unsent += encode_answer(answer)
        self._watch()  # because it can be written to, the loop sends this, and goes on with what has come

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:  # it has left, and its answers are nobody's
            self._unsent.clear()

    def _watch(self) -> None:
        if self._socket.fileno() >= 0:  # else it has been closed, and is answered too late
            reading = 0 if self._ended else select.EPOLLIN
            self._epoll.modify(self._socket, reading | (select.EPOLLOUT if self._unsent else 0))


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
            raise DeadlineExceeded(
                f"The backend has not answered within {timeout:g} s; what was asked may be done yet"
            ) from error
        except OSError:
            line = b""
    if not line.endswith(b"\n"):
        raise BackendUnavailable(
            "The backend ended before it had answered; see what is registered, and try again"
        )
    return decode_answer(line)
