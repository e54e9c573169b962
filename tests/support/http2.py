"""What no gRPC client sends, on connections of bare HTTP/2 frames: unfinished messages, and floods."""

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping

from tests.support.credentials import NOTHING, Credentials
from tests.support.raw_http import answered
from utils.channel import PREDICT
from utils.settings import parse_address

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW_SIZE = 4
_CANCEL = 8
_LARGEST_FRAME = 16 * 1024
_LOOK_SECONDS = 0.05


class UnfinishedMessages:
    """One connection with many calls, each of which sends all of its message but the last byte.

    Each sends as much as the server's flow control lets it.

    Args:
        address: The server's.
        streams: How many calls.
        size: Bytes of each message.
        credentials: Of the client.
    """

    def __init__(self, address: str, streams: int, size: int, credentials: Credentials = NOTHING) -> None:
        where = parse_address(address)
        self._socket = socket.create_connection((where.host, where.port))
        if credentials.ca is not None:
            self._socket = credentials.ssl_context().wrap_socket(self._socket, server_hostname=where.host)
        self._connection_window = self._initial_window = 65_535
        self._left = dict.fromkeys(range(1, 2 * streams, 2), size + 5 - 1)
        self._windows = dict.fromkeys(self._left, self._initial_window)
        self._prefixes = dict.fromkeys(self._left, struct.pack(">BI", 0, size))
        self._received = b""
        self._over = threading.Event()
        head = _head(address, credentials.headers)
        heads = [_frame(_HEADERS, _END_HEADERS, stream, head) for stream in self._left]
        self._socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + b"".join(heads))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def unfinished(self) -> int:
        """How many calls the server has not ended."""
        return len(self._left)

    def close(self) -> None:
        """Close the connection."""
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while not self._over.is_set():
                self._send_what_may_be_sent()
                if answered(self._socket, _LOOK_SECONDS):
                    received = self._socket.recv(1 << 16)
                    if not received:
                        break
                    self._received += received
                    self._read_frames()
        self._left.clear()

    def _send_what_may_be_sent(self) -> None:
        for stream in list(self._left):
            while (size := self._sendable(stream)) > 0:
                data = self._prefixes.pop(stream, b"").ljust(size, b"x")
                self._socket.sendall(_frame(_DATA, 0, stream, data))
                self._left[stream] -= size
                self._windows[stream] -= size
                self._connection_window -= size

    def _sendable(self, stream: int) -> int:
        return min(self._left[stream], self._connection_window, self._windows[stream], _LARGEST_FRAME)

    def _read_frames(self) -> None:
        while len(self._received) >= 9:
            size = int.from_bytes(self._received[:3])
            if len(self._received) < 9 + size:
                return
            kind, flags, stream = struct.unpack(">BBI", self._received[3:9])
            payload, self._received = self._received[9 : 9 + size], self._received[9 + size :]
            self._read_frame(kind, flags, stream, payload)

    def _read_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == _INITIAL_WINDOW_SIZE:
                    for each in self._windows:
                        self._windows[each] += value - self._initial_window
                    self._initial_window = value
            self._socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._socket.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW_UPDATE:
            more = int.from_bytes(payload)
            if stream == 0:
                self._connection_window += more
            elif stream in self._windows:
                self._windows[stream] += more
        elif kind == _RST_STREAM or (kind in {_HEADERS, _DATA} and flags & _END_STREAM):
            self._left.pop(stream, None)


@contextlib.contextmanager
def unfinished_messages(
    address: str, *, connections: int, streams: int, size: int, credentials: Credentials = NOTHING
) -> Iterator[list[UnfinishedMessages]]:
    """So many connections with so many unfinished messages each."""
    with contextlib.ExitStack() as stack:
        made = [UnfinishedMessages(address, streams, size, credentials) for _ in range(connections)]
        for one in made:
            stack.callback(one.close)
        yield made


def flood(address: str, kind: str, count: int) -> int:
    """Send so many pings, settings, or calls that are given up at once, on one connection.

    Args:
        address: The server's.
        kind: `ping`, `settings` or `reset`.
        count: How many.

    Returns:
        Bytes that were sent before the server ended the connection, or all had been.
    """
    made: dict[str, Callable[[int], bytes]] = {
        "ping": lambda number: _frame(_PING, 0, 0, number.to_bytes(8)),
        "settings": lambda _: _frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, 65_535)),
        "reset": lambda number: (
            _frame(_HEADERS, _END_HEADERS, 2 * number + 1, _head(address, {}))
            + _frame(_RST_STREAM, 0, 2 * number + 1, struct.pack(">I", _CANCEL))
        ),
    }
    where = parse_address(address)
    unsent = memoryview(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + b"".join(map(made[kind], range(count))))
    size = len(unsent)
    with socket.create_connection((where.host, where.port)) as connection, contextlib.suppress(OSError):
        connection.setblocking(False)
        poll = select.poll()
        poll.register(connection, select.POLLIN | select.POLLOUT)
        while unsent:
            [(_, events)] = poll.poll()
            if events & ~select.POLLOUT and not connection.recv(1 << 16):
                break
            if events & select.POLLOUT:
                unsent = unsent[connection.send(unsent) :]
    return size - len(unsent)


def _head(address: str, shown: Mapping[str, str]) -> bytes:
    """The header block of a call, with these fields besides."""
    return _literals(
        {
            ":method": "POST",
            ":scheme": "http",
            ":path": PREDICT,
            ":authority": address,
            "te": "trailers",
            "content-type": "application/grpc",
            **{name.lower(): value for name, value in shown.items()},
        }
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + struct.pack(">BBI", kind, flags, stream) + payload


def _literals(fields: dict[str, str]) -> bytes:
    """A header block of literals that enter no table, without Huffman codes (RFC 7541, 6.2.2)."""
    texts = [text for pair in fields.items() for text in pair]
    strings = [bytes([len(text)]) + text.encode() for text in texts]
    return b"".join(b"\0" + name + value for name, value in zip(strings[::2], strings[1::2], strict=True))
