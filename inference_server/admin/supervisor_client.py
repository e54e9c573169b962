"""The supervisor, as the threads of the admin process ask it: all over one connection, each for itself."""

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from inference_server.catalogue.commands import LONG, Command, patience
from inference_server.catalogue.control_connection import LONGEST_LINE
from inference_server.catalogue.control_socket import ended, unanswered
from inference_server.catalogue.lines import decode_answer, decode_id, encode
from inference_server.catalogue.request_log import note_change
from utils.errors import BodyTooLarge, TooManyChanges

MOST_LONG = 8
"""How many changes of a `ChangeLimit` may be waited for."""

THREADS = 3 * MOST_LONG
"""Of each server of this process: what does not wait finds one, though two such limits are reached."""

_RETRY_SECONDS = 1.0

Execute = Callable[[Command], dict[str, Any]]
"""Has the supervisor carry out a command, waits for it, and gives what was done; raises a FacetError."""


class ChangeLimit:
    """Limits how many changes are waited for at once, because each of them holds a thread."""

    def __init__(self) -> None:
        self._free = threading.Semaphore(MOST_LONG)

    def __enter__(self) -> None:
        """Count one more.

        Raises:
            TooManyChanges: There are as many as may be.
        """
        if not self._free.acquire(blocking=False):
            raise TooManyChanges(
                f"{MOST_LONG} changes of models are waited for; accepted: no more at once",
                retry_after=_RETRY_SECONDS,
            )

    def __exit__(self, *_: object) -> None:
        """Count one less."""
        self._free.release()


class SupervisorClient:
    """Asks the supervisor. Its `execute` may be called by many threads at once.

    Args:
        connection: To the supervisor.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[bytes]] = {}
        self._closed = False
        self._changes = ChangeLimit()
        threading.Thread(target=self._receive, name="supervisor", daemon=True).start()

    def execute(self, command: Command) -> dict[str, Any]:
        """Have a command carried out, and give what was done; it is noted for the request's line.

        Raises:
            TooManyChanges: As many commands that take long as may be are on their way.
            DeadlineExceeded: There is no answer yet; the command is carried out all the same.
            BackendUnavailable: The supervisor ends.
            FacetError: What it says.
        """
        note_change(command)
        with self._changes if patience(command) >= LONG else contextlib.nullcontext():
            answer = self._ask(command)
        note_change(command, answer)
        return answer

    def close(self) -> None:
        """Wait for no answer any more, and ask nothing."""
        self._connection.shutdown(socket.SHUT_RDWR)

    def _ask(self, command: Command) -> dict[str, Any]:
        answer: Future[bytes] = Future()
        number = next(self._numbers)
        line = encode(command, number)
        if len(line) > LONGEST_LINE:
            raise BodyTooLarge(f"The change has {len(line)} bytes as JSON; accepted: {LONGEST_LINE} at most")
        with self._lock:
            if self._closed:
                raise ended()
            self._waiting[number] = answer
            try:
                self._connection.sendall(line)
            except OSError as error:
                raise ended() from error
        try:
            return decode_answer(answer.result(patience(command)))
        except TimeoutError as error:
            raise unanswered(patience(command)) from error
        finally:
            self._waiting.pop(number, None)

    def _receive(self) -> None:
        with self._connection.makefile("rb") as lines, contextlib.suppress(OSError):  # it has gone
            for line in lines:
                number = decode_id(line)
                answer = None if number is None else self._waiting.get(number)
                if answer is not None:  # else nobody waits for it any more
                    answer.set_result(line)
        with self._lock:
            self._closed = True
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ended())
