"""One connection by which the supervisor is asked: lines of JSON in both directions, without waiting."""

import select
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from inference_server.catalogue.commands import Answer, Command
from inference_server.catalogue.lines import decode, decode_id, encode_answer
from utils.errors import MalformedRequest

LONGEST_LINE: Final = 1 << 20
"""Bytes of a command at most, with the end of its line."""
_MOST_AT_ONCE: Final = 64
_CHUNK: Final = 65536

Execute = Callable[[Command, Callable[[Answer], None]], None]
"""Carries out a command, and gives the answer to a function, now or later."""


class Connection:
    """The supervisor's side. Who owns it closes it, so that no event is taken for that of another.

    Args:
        connected: The socket.
        epoll: Of the owner, by which it waits for events of all its connections.
        execute: Carries out the commands.
    """

    def __init__(self, connected: socket.socket, epoll: select.epoll, execute: Execute) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._epoll = epoll
        self._execute = execute
        self._received = bytearray()
        self._unsent = bytearray()
        self._ended = False
        self._in_work = 0
        self._in_order = False  # a command without an id is carried out
        epoll.register(connected, select.EPOLLIN)

    def handle(self, events: int) -> bool:
        """Go on; gives whether it is still open."""
        if events & select.EPOLLIN:
            self._receive()
        self._flush()
        while self._carry_out():
            self._flush()
        self._watch()
        left = events & (select.EPOLLHUP | select.EPOLLERR)
        return not left and (bool(self._in_work) or bool(self._unsent) or not self._ended)

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
        if len(self._received) >= LONGEST_LINE and self._received.find(b"\n", 0, LONGEST_LINE) < 0:
            self._ended = True
            self._received.clear()
            self._unsent += encode_answer(MalformedRequest(f"The line has more than {LONGEST_LINE} bytes"))

    @property
    def _has_room(self) -> bool:
        """Whether its client is to be given more answers: one that does not read is given no more."""
        return self._in_work < _MOST_AT_ONCE and len(self._unsent) <= LONGEST_LINE

    @property
    def _is_full(self) -> bool:
        """Whether what has come is to be carried out before more is read."""
        return len(self._received) >= LONGEST_LINE and b"\n" in self._received

    def _carry_out(self) -> bool:
        """Begin the next command that has come; gives whether there was one that could be begun."""
        if self._in_order or not self._has_room or b"\n" not in self._received:
            return False
        line, _, self._received = self._received.partition(b"\n")
        number = decode_id(bytes(line))
        self._in_order = number is None
        self._in_work += 1
        reply = partial(self._answer, number)
        try:
            command = decode(bytes(line))
        except MalformedRequest as error:
            reply(error)
        else:
            self._execute(command, reply)
        return True

    def _answer(self, number: int | None, answer: Answer) -> None:
        self._in_work -= 1
        if number is None:
            self._in_order = False
        self._unsent += encode_answer(answer, number)
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
            reading = 0 if self._ended or self._is_full or not self._has_room else select.EPOLLIN
            self._epoll.modify(self._socket, reading | (select.EPOLLOUT if self._unsent else 0))
