"""One client of the gateway: its socket with time limits, its request's head, its requests."""

import errno
import re
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gunicorn.http.body import LengthReader
from gunicorn.http.message import Request as GunicornRequest
from gunicorn.workers.gthread import TConn

from gateway.connections import limits

_HEAD_END = re.compile(rb"\n\r?\n")
_EMPTY_LINES = re.compile(rb"(?:\r\n)+")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Client(socket.socket):
    """The socket of a connection, on which threads neither read nor write longer than they may.

    Attributes:
        head_began: When the first byte of its request's head came, by `time.monotonic`.
        head_ended: When the last byte was read, by the same clock; a wait for a thread may follow.
        read_until: When reading ends.
        send_until: When sending an answer ends; None before its first byte.
        taken: False where the client was seen not to take its answer; None where nothing is known.
        asks: Whether the client waits to be told before it sends its body.
    """

    head_began = 0.0
    head_ended = 0.0
    read_until = 0.0
    send_until: float | None = None
    taken: bool | None = None
    asks = False

    def begin_request(self) -> None:
        """Let a thread see to the request whose head has come: the time of its body begins.

        Not before, because a wait for the thread is no fault of the client's.
        """
        self.read_until = time.monotonic() + limits.BODY_SECONDS
        self.send_until = None
        self.taken = None
        self.asks = False

    def allow(self, seconds: float) -> None:
        """Let the body be read for so long from now on, where that is less than any body may take."""
        self.read_until = min(self.read_until, time.monotonic() + seconds)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Read what there is, waiting until `read_until` at most; a client that asks is told to send it.

        Only here is its body wanted: what is refused unread is refused without having been invited.

        Raises:
            TimeoutError: Nothing came, or it is too late.
            BrokenPipeError: The client does not take the word that it asked for.
        """
        left = self.read_until - time.monotonic()
        if left <= 0:
            # Also where more has come already: a trickle must not outlast its time.
            raise TimeoutError("the time to read is over")
        if self.asks:
            self.asks = False
            self._send_continue()
        self.settimeout(left)
        return super().recv(size, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:  # noqa: ANN401 - any buffer
        """Send a piece of an answer, all of which has limits.ANSWER_SECONDS.

        Raises:
            BrokenPipeError: The client does not take it, which is as good as gone.
        """
        with self._sending():
            super().sendall(data, flags)

    def send(self, data: Any, flags: int = 0) -> int:  # noqa: ANN401 - any buffer
        """As `sendall`, but as much as goes at once.

        Raises:
            BrokenPipeError: The client does not take it, which is as good as gone.
        """
        with self._sending():
            return super().send(data, flags)

    @contextmanager
    def _sending(self) -> Iterator[None]:
        now = time.monotonic()
        if self.send_until is None:
            self.send_until = now + limits.ANSWER_SECONDS
        self.settimeout(max(0.0, self.send_until - now))
        try:
            yield
        except OSError as error:
            self.taken = False
            if isinstance(error, TimeoutError | BlockingIOError):
                raise BrokenPipeError(errno.EPIPE, "the client takes no answer") from error
            raise

    def _send_continue(self) -> None:
        # A request is seen to only where there is room for far more than this.
        self.setblocking(False)
        try:
            whole = super().send(_CONTINUE) == len(_CONTINUE)
        except BlockingIOError:
            whole = False
        if not whole:
            raise BrokenPipeError(errno.EPIPE, "the client takes no word")

    def send_now(self, data: bytes) -> None:
        """Send as much as goes at once; who takes not even that gets nothing."""
        self.setblocking(False)
        with suppress(OSError):
            super().send(data)

    def takes_more(self) -> bool:
        """Whether something can be sent at once, or its client is gone."""
        look = select.poll()
        look.register(self, select.POLLOUT)
        return bool(look.poll(0))

    def recv_now(self, size: int) -> bytes | None:
        """Read what there is already; None where there is nothing yet."""
        try:
            return super().recv(size)
        except BlockingIOError:
            return None
        except OSError:
            return b""


class Request(GunicornRequest):  # type: ignore[misc]
    """A request that ends its connection when its body was not read to the end.

    What is left of a body cannot be told from the next request, and waiting for it would hold a thread.
    """

    def should_close(self) -> bool:
        """Whether no other request can follow on this connection."""
        return super().should_close() or not _finished(self.body)

    def _peer_trusted_for_forwarded(self) -> tuple[dict[str, str], list[str]]:
        """No peer's word is taken for another scheme, path or script name: nothing here depends on them."""
        return {}, []


def _finished(body: Any) -> bool:  # noqa: ANN401 - gunicorn's Body
    reader = body.reader
    ended = reader.length == 0 if isinstance(reader, LengthReader) else reader.parser is None
    return not body.failed and ended and body.buf.tell() == 0


class Connection(TConn):  # type: ignore[misc]
    """A connection and as much of its next request's head as has come."""

    def __init__(self, cfg: Any, sock: Client, client: Any, server: Any) -> None:  # noqa: ANN401 - gunicorn's
        super().__init__(cfg, sock, client, server)
        self.head = bytearray()
        # gunicorn's own wait for the first byte is over when a thread gets the connection.
        self.data_ready = True

    def init(self) -> None:
        """Hand the head that was collected to gunicorn's parser."""
        super().init()
        self.sock.begin_request()
        self.parser.mesg_class = Request
        self.parser.unreader.unread(bytes(self.head))
        self.head.clear()

    def extend_head(self, piece: bytes) -> bool:
        """Add to the head; True where it has ended, well or badly.

        Empty lines before a head are no part of it (RFC 9112, 2.2), and its time has not begun with them.
        """
        if not self.head:
            self.sock.head_began = time.monotonic()
        # The end may lie across two pieces.
        start = max(0, len(self.head) - 3)
        self.head += piece
        if empty := _EMPTY_LINES.match(self.head):
            del self.head[: empty.end()]
        if _HEAD_END.search(self.head, start) is None:
            return False
        self.sock.head_ended = time.monotonic()
        return True
