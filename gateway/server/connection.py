"""How long the client of a connection is waited for, and what then happens."""

import logging
import math
import select
import time
from asyncio import Transport
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.arrival import Client
from gateway.counters import HttpCounters
from utils.logs import fields

logger = logging.getLogger("gateway")

FIRST_SECONDS = 10.0
"""From accept to the first byte of a first request."""
ANSWER_SECONDS = 10.0
"""Without the client taking any of an answer."""
LINGER_SECONDS = 5.0
"""For a client that still sends to read its answer before the connection is cut."""
LAST_SECONDS = 2.0
"""The same, and for an idle connection's next request, once the process leaves."""


class State(ServerState):
    """What all connections of a process share.

    Attributes:
        closing: Whether each answer ends its connection.
        counters: Count what is answered; None where nobody counts.
    """

    closing = False
    counters: HttpCounters | None = None


class Connection(HttpToolsProtocol, Client):
    """uvicorn's connection with limits of time. All of it runs on the event loop, but `on_disconnect`.

    Attributes:
        idle_since: Since when no request has begun; infinite where one has.
        discards_input: Whether what still comes is thrown away.
        deadline: When what is waited for is late, by `time.monotonic`; infinite where nothing is.
        may_send_first: Whether the client need take nothing of an answer yet, for it still sends its request.
    """

    server_state: State

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(**kwargs)
        self.idle_since = math.inf
        self.discards_input = False
        self.deadline = math.inf
        self.may_send_first = False
        self._on_deadline: Callable[[], object] = lambda: None
        self._callback: Callable[[], object] | None = None
        self._lingers = False  # when the answer is written
        self._unsent, self._unsent_since = 0, 0.0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Wait for a first request."""
        super().connection_made(transport)
        self._wait_for_request(FIRST_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Have the work for this client given up."""
        super().connection_lost(exc)
        self._leave()

    def eof_received(self) -> None:
        """Take a client that closes its sending side for one that has left, as common proxies do."""
        self._leave()

    def _leave(self) -> None:
        if not self.left:
            self.left = True
            if self._callback is not None:
                self._callback()

    def on_disconnect(self, callback: Callable[[], object] | None) -> None:  # noqa: D102 - as of Client
        self._callback = callback
        if self.left and callback is not None:
            callback()

    def check(self, now: float) -> None:
        """End what has taken too long; called several times a second."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent or self.may_send_first:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since > ANSWER_SECONDS:
            logger.info("answer not taken", extra=fields(unsent_bytes=unsent))
            self.transport.abort()
        if self.transport.is_closing():
            return
        if now >= self.deadline:
            # What came while this process stood still has not been read yet, and may end the wait.
            self.loop.call_soon(self._time_out, self.deadline)
        if self.flow.read_paused and self._has_hung_up():
            self._leave()

    def _time_out(self, deadline: float) -> None:
        if self.deadline == deadline and not self.transport.is_closing():
            self.deadline = math.inf
            self._on_deadline()

    def _has_hung_up(self) -> bool:
        """Whether the client has left, which is not seen by reading while that is paused."""
        look = select.poll()
        look.register(self.transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(look.poll(0))

    def shutdown(self) -> None:
        """End within LAST_SECONDS where the connection is idle; others end with their answer."""
        if self.idle_since < math.inf:
            self.deadline = min(self.deadline, time.monotonic() + LAST_SECONDS)

    def wait(self, seconds: float, on_deadline: Callable[[], object]) -> None:
        """Have something done unless another wait begins before."""
        self.deadline = time.monotonic() + seconds
        self._on_deadline = on_deadline

    def _wait_for_request(self, seconds: float) -> None:
        self.idle_since = time.monotonic()
        self.wait(LAST_SECONDS if self.server_state.closing else seconds, self.transport.close)

    def on_response_complete(self) -> None:
        """Go on with the request that was sent ahead, or wait for the next one."""
        self._callback = None
        self.may_send_first = False
        if self._lingers:
            self.linger()
            return
        super().on_response_complete()
        self._unset_keepalive_if_required()  # `check` has that time, too
        if self.is_free() and not self.transport.is_closing():
            self._wait_for_request(self.timeout_keep_alive)

    def is_free(self) -> bool:
        """Whether all requests that have begun are answered."""
        return self.cycle is None or self.cycle.response_complete

    def linger_after(self, cycle: Any) -> None:  # noqa: ANN401 - uvicorn's
        """End the connection with the answer that is being sent, though the client may still be sending.

        Closing a socket that has unread data resets the connection, and the answer is lost.
        """
        self._lingers = cycle.keep_alive = True

    def linger(self) -> None:
        """Send no more, and wait until the client has read what was sent."""
        self.discards_input = True
        self.flow.resume_reading()
        self.transport.write_eof()
        self._wait_for_reader()

    def _wait_for_reader(self) -> None:
        self.wait(LAST_SECONDS if self.server_state.closing else LINGER_SECONDS, self._cut)

    def _cut(self) -> None:
        if self.transport.get_write_buffer_size():  # `check` ends it where none of that is taken
            self._wait_for_reader()
        else:
            self.transport.abort()
