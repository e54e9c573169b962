"""How a client stays connected: by one channel, and by another one when the files of its TLS have changed."""

import math
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.message import Message

from utils.credentials import channel_credentials
from utils.errors import BackendUnavailable
from utils.status import RETRY_SECONDS
from utils.tls import ClientTls, Pem, TlsUnusable

_LOOK_SECONDS = 1.0
"""Between two looks at the files, which cost a call some microseconds."""


class Rpc(NamedTuple):
    """A method of the backend's, which answers messages of one type with messages of another."""

    path: str
    request: type[Message]
    reply: type[Message]

    def as_grpc(self) -> tuple[str, Callable[[Any], bytes], Callable[[bytes], Any]]:
        """What a channel makes it of: its path, and how messages become bytes and bytes messages."""
        return self.path, self.request.SerializeToString, self.reply.FromString


class Methods(dict[Rpc, Callable[..., Any]]):
    """The methods of a channel, each made when it is first called.

    Args:
        make: Makes one of what `Rpc.as_grpc` gives.
    """

    def __init__(self, make: Callable[..., Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, rpc: Rpc) -> Callable[..., Any]:
        method: Callable[..., Any] = self._make(*rpc.as_grpc())
        self[rpc] = method
        return method


class Connection:
    """A channel and its methods. gRPC ends a channel's calls with it: who has one under way holds on to this.

    Args:
        channel: Of the blocking client, or of that for asyncio.
    """

    def __init__(self, channel: Any) -> None:  # noqa: ANN401 - either kind
        self.channel = channel
        self.methods = Methods(channel.unary_unary)
        # As a stream of one, the only kind of call that gRPC can cancel from another thread without
        # making a thread of its own for it: half of the time that a gateway adds to a call.
        self.cancellable_methods = Methods(channel.unary_stream)
        self.streams = Methods(channel.stream_stream)


class Connector:
    """Connects a client. Threads may share it.

    Args:
        library: `grpc`, or `grpc.aio`.
        target: What its channels dial.
        options: Of its channels.
        tls: How they speak TLS; None for not at all.
    """

    def __init__(
        self,
        library: Any,  # noqa: ANN401 - a module
        target: str,
        options: list[tuple[str, Any]],
        tls: ClientTls | None,
    ) -> None:
        self._library = library
        self._target = target
        self._options = options
        self._tls = tls
        self._lock = threading.Lock()
        self._opened: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._pem: Pem | None = None
        self._connection: Connection | None = None
        self._look_at = 0.0
        if tls is None:
            self._connection, self._look_at = self._opens(library.insecure_channel(target, options)), math.inf
        elif tls.name:
            self._options = [*options, ("grpc.default_authority", tls.name)]

    def current(self) -> Connection:
        """What a call that begins now is made by.

        Raises:
            BackendUnavailable: The files of its TLS cannot be used, and never could.
        """
        connection = self._connection
        if connection is None or time.monotonic() >= self._look_at:
            with self._lock:
                connection = self._look()
        return connection

    def close(self) -> list[Any]:
        """Close all channels, which ends their calls; gives what the asyncio client has to await."""
        self._look_at = math.inf
        return [connection.channel.close() for connection in list(self._opened)]

    def _look(self) -> Connection:
        """Connect anew where the files have changed; what is under way goes on by the channel that it has."""
        assert self._tls is not None, "looked at where there is TLS alone"
        try:
            pem = self._tls.files.current()
        except TlsUnusable as error:
            unavailable = BackendUnavailable(
                "The backend cannot be called: the files for TLS with it cannot be used.",
                retry_after=RETRY_SECONDS,
            )
            unavailable.cause = str(error)
            raise unavailable from error
        if self._connection is None or pem is not self._pem:
            channel = self._library.secure_channel(self._target, channel_credentials(pem), self._options)
            self._pem, self._connection = pem, self._opens(channel)
        self._look_at = time.monotonic() + _LOOK_SECONDS
        return self._connection

    def _opens(self, channel: Any) -> Connection:  # noqa: ANN401 - either kind
        connection = Connection(channel)
        self._opened.add(connection)
        return connection
