"""What the supervisor and a worker tell each other: each message is a datagram, JSON with the message's name.

The supervisor is not reloaded with its workers, so they may be of two releases. A message of unknown name, or
without a field that has no default here, is logged and dropped; fields that are unknown are ignored. So what
a worker says to serve, or to be replaced, has defaults. What the supervisor says is a part of the layout of
the shared memory (`dispatch/shared.py`), in which they never differ.

A closed connection means that the other process has ended.
"""

import json
import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Generic, TypeVar, get_args

from utils import logs

logger = logging.getLogger(__name__)

_LONGEST = 65536


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker serves. `degraded` says that a faster engine was passed over because it cannot run."""

    engine: str = ""
    instruction_set: str = ""
    reason: str = ""
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class BootFailed:
    """A worker cannot boot.

    Attributes:
        reason: Why.
        permanent: No other can, either.
        invalid: What it was to host is at fault, and has to be changed.
        field: The member of that which is wrong, where one is.
    """

    reason: str = "it did not say why"
    permanent: bool = True
    invalid: bool = False
    field: str = ""


@dataclass(frozen=True, slots=True)
class RetirementRequested:
    """Somebody asked a worker to end; it serves on until it is told to stop."""


@dataclass(frozen=True, slots=True)
class SuspectCleared:
    """A payload that was in flight at a death was computed after all."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Drain:
    """The whole backend goes away: finish what was accepted, and end."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Only this worker goes away: finish what it accepted, and end."""


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """Somebody who takes from a queue died; what it had in flight, or may have had, is to be sent again."""

    slot: int
    generation: int
    queue: int


@dataclass(frozen=True, slots=True)
class SetLogLevel:
    """From now on log what is of this level or above it: one of `utils.logs.LEVELS`."""

    level: str


# As earlier releases have them: a worker of one release tells the supervisor of another why it ends.
_NAMES: dict[type, str] = {
    Ready: "ready",
    BootFailed: "failed",
    RetirementRequested: "leaving",
    SuspectCleared: "cleared",
    Drain: "drain",
    Stop: "stop",
    WorkerDied: "died",
    SetLogLevel: "log_level",
}

FromWorker = Ready | BootFailed | RetirementRequested | SuspectCleared
FromSupervisor = Drain | Stop | WorkerDied | SetLogLevel

Sent = TypeVar("Sent", bound=FromWorker | FromSupervisor)
Received = TypeVar("Received", bound=FromWorker | FromSupervisor)

_PARSERS: dict[Any, Callable[[Any], object]] = {str: str, int: int, bool: bool, bytes: bytes.fromhex}


class Control(Generic[Sent, Received]):
    """One end. Neither sending nor receiving ever waits."""

    def __init__(self, connection: socket.socket, kinds: Iterable[type[Received]]) -> None:
        self._connection = connection
        self._kinds: dict[str, type[Received]] = {_NAMES[kind]: kind for kind in kinds}

    def fileno(self) -> int:
        """The descriptor, for selectors and for inheriting."""
        return self._connection.fileno()

    def send(self, message: Sent) -> bool:
        """Send a message; False where the other process has ended or has stopped reading."""
        values = {"event": _NAMES[type(message)], **asdict(message)}
        try:
            self._connection.send(json.dumps(values, default=bytes.hex).encode(), socket.MSG_DONTWAIT)
        except OSError:  # it has ended, its end is full, or the system has no memory for a message
            return False
        return True

    def receive(self) -> Received | None:
        """The next message that is understood; None where there is none yet.

        Raises:
            EOFError: The other process has ended.
        """
        while True:
            try:
                packet = self._connection.recv(_LONGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except ConnectionResetError:
                # It has ended with something unread, which the kernel says once, before its last messages.
                continue
            if not packet:
                raise EOFError
            try:
                return self._parse(packet)
            except (KeyError, TypeError, ValueError):
                logger.warning("control message ignored", extra=logs.fields(packet=packet[:200]))

    def close(self) -> None:
        """Close this end."""
        self._connection.close()

    def _parse(self, packet: bytes) -> Received:
        values = json.loads(packet)
        kind = self._kinds[values["event"]]
        said = {field.name: field.type for field in fields(kind) if field.name in values}
        parsed: dict[str, Any] = {name: _PARSERS[type_](values[name]) for name, type_ in said.items()}
        return kind(**parsed)


SupervisorEnd = Control[FromSupervisor, FromWorker]
WorkerEnd = Control[FromWorker, FromSupervisor]


def control_pair() -> tuple[SupervisorEnd, WorkerEnd]:
    """Two connected ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Control(ours, get_args(FromWorker)), Control(theirs, get_args(FromSupervisor))


def inherited_control(descriptor: int) -> WorkerEnd:
    """The end that the supervisor left open under this descriptor."""
    return Control(socket.socket(fileno=descriptor), get_args(FromSupervisor))
