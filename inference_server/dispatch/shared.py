"""What all workers share: made by the supervisor before the first of them, inherited by each."""

import errno
import os
import socket
import struct
from array import array
from collections.abc import Sequence

from inference_server.dispatch.page import Page

PACKET = struct.Struct("=QQQ")
"""A request's datagram, and its notice: the front's slot and generation, the request's number."""

RECEIVE_SECONDS = 0.2
"""How long a detector thread waits for a request before it looks around."""

# The queue is full, or holds as many descriptors as this process may have open.
_NO_ROOM = {errno.EAGAIN, errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM}

_TIMEVAL = struct.Struct("=qq")


LAYOUT = 4
"""Raised whenever page, envelope, packet or context change, or who touches an envelope and when, so that no
reload mixes two of them."""


class LayoutMismatch(Exception):
    """Supervisor and worker would not understand each other's memory."""


class Shared:
    """The queue, the notice sockets and the page.

    Whether a socket blocks belongs to the open file, which all processes share, so nothing depends on it:
    senders, and those who receive notices, say MSG_DONTWAIT. `take` alone must block, and so must never be
    given to an event loop; it has a time limit of its own, which also repairs a wake-up that a killed
    process took along.

    Args:
        descriptors: Of a Shared in the parent: `descriptors`, inherited.
        slots: How many workers there can be at once.
    """

    def __init__(self, descriptors: Sequence[int], slots: int) -> None:
        self.descriptors = tuple(descriptors)
        self.page = Page(descriptors[0], slots)
        self.post, self.take, *notices = (_socket(descriptor) for descriptor in descriptors[1:])
        self.notify = tuple(notices[:slots])
        self.notices = tuple(notices[slots:])

    @classmethod
    def create(cls, slots: int) -> "Shared":
        """Make it, in the supervisor."""
        page = os.memfd_create("facet-page", os.MFD_CLOEXEC)
        post, take = _pair()
        take.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(0, int(RECEIVE_SECONDS * 1_000_000))
        )
        pairs = [_pair() for _ in range(slots)]
        ends = [post, take, *(send for send, _ in pairs), *(receive for _, receive in pairs)]
        return cls([page, *(end.detach() for end in ends)], slots)

    @classmethod
    def inherited(cls, text: str) -> "Shared":
        """Find it in a worker, by the text of `described`.

        Raises:
            LayoutMismatch: It was made by a supervisor of another release.
        """
        layout, _, rest = text.partition(":")
        if layout != str(LAYOUT):
            raise LayoutMismatch(
                f"this release shares memory in layout {LAYOUT}, the running supervisor in {layout}; "
                "restart the backend instead of reloading it"
            )
        descriptors = [int(part) for part in rest.split(",")]
        return cls(descriptors, (len(descriptors) - 3) // 2)

    def send(self, packet: bytes, descriptor: int) -> bool:
        """Put a request's datagram with its envelope into the queue; False where there is no room now.

        Raises:
            OSError: It can never be sent.
        """
        rights = array("i", [descriptor])
        try:
            # Not socket.send_fds, which takes flags and drops them: it would wait for room.
            self.post.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], socket.MSG_DONTWAIT)
        except OSError as error:
            if error.errno in _NO_ROOM:
                return False
            raise
        return True

    def described(self) -> str:
        """Its descriptors as text, for a worker's command line."""
        return f"{LAYOUT}:{','.join(map(str, self.descriptors))}"

    def close(self) -> None:
        """Close every descriptor."""
        os.close(self.descriptors[0])
        for end in (self.post, self.take, *self.notify, *self.notices):
            end.close()


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _socket(descriptor: int) -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=descriptor)
