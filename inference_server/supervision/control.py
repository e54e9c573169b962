"""The line between the supervisor and one worker: short JSON messages, each a datagram.

From a worker: `ready` (and which engine it chose, and why); `failed` (it cannot boot; why, and whether that
is final); `leaving` (somebody asked it to end; it serves on until it is told to stop); `innocent` (a suspect
picture was computed after all).
From the supervisor: `drain` (the whole backend goes away); `stop` (only this worker does); `died` (another
worker did, and what it had in hand); `suspect`, `innocent` (what is known of a picture); `heard` (a new
worker knows now of so many deaths before its time).
A closed line means that the other process has ended.
"""

import json
import socket
from typing import Any

_LONGEST = 65536
Message = dict[str, Any]


class Control:
    """One end of the line. Neither sending nor receiving ever waits."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    @classmethod
    def pair(cls) -> tuple["Control", "Control"]:
        """Two connected ends."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    @classmethod
    def inherited(cls, descriptor: int) -> "Control":
        """The end that a parent process left open under this descriptor."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """The descriptor, for selectors and for inheriting."""
        return self._line.fileno()

    def send(self, event: str, **values: Any) -> bool:  # noqa: ANN401 - anything JSON can say
        """Send a message; False where the other process has ended or has stopped reading."""
        try:
            self._line.send(json.dumps({"event": event, **values}).encode(), socket.MSG_DONTWAIT)
        except (BrokenPipeError, ConnectionResetError, BlockingIOError):
            return False
        return True

    def receive(self) -> Message | None:
        """The next message; None where there is none yet.

        Raises:
            EOFError: The other process has ended.
        """
        try:
            packet = self._line.recv(_LONGEST, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            # It has ended with something unread, which the kernel says once, before its last words.
            return self.receive()
        if not packet:
            raise EOFError
        message: Message = json.loads(packet)
        return message

    def close(self) -> None:
        """Close this end."""
        self._line.close()
