"""What all workers share: made by the supervisor before the first of them, inherited by each."""

import errno
import os
import socket
import struct
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from inference_server.dispatch.families import FINGERPRINT
from inference_server.dispatch.publication import Publication
from inference_server.dispatch.stats import SharedStats

PACKET = struct.Struct("=QQQ")
"""A request's datagram, and its completion: the dispatcher's slot and generation, the request's number."""

RECEIVE_SECONDS = 0.2
"""How long a consumer waits for a request before it looks around."""

# A queue is full, or holds as many descriptors as this process may have open.
_NO_ROOM = {errno.EAGAIN, errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM}

_TIMEVAL = struct.Struct("=qq")
_DESCRIPTOR = struct.Struct("=i")

LAYOUT = f"9-{FINGERPRINT}"
"""Its number is raised whenever the layout of stats, buffer, packet or context, the supervisor's messages, or
who writes a buffer and when, change, so that no reload mixes two releases. Behind it is what the counters
mean: an error that is added is another word."""


class LayoutMismatch(Exception):
    """Supervisor and worker would not understand each other's memory."""


class LostDescriptor(Exception):
    """A request arrived without its buffer: this process has no descriptor left."""


class Shared:
    """The queues, the completion sockets, the statistics and the publication.

    The slots of workers come first, and behind them those of model workers, which have no completion sockets,
    for they receive no calls.

    Whether a socket blocks belongs to the open file, which all processes share, so nothing depends on it:
    senders, and those who receive completions, say MSG_DONTWAIT. `queue_receivers` alone must block, and so
    must never be given to an event loop; they have a time limit of their own, which also repairs a wake-up
    that a killed process took along.

    Attributes:
        slots: How many workers there can be at once.
        model_slots: How many model workers.

    Args:
        descriptors: Of a Shared in the parent: `descriptors`, inherited.
        queues: How many queues there are.
        model_slots: How many model workers there can be at once.
    """

    def __init__(self, descriptors: Sequence[int], queues: int, model_slots: int) -> None:
        self.descriptors = tuple(descriptors)
        self._ends = ends = [_socket(descriptor) for descriptor in descriptors[2:]]
        self.slots = slots = len(ends) // 2 - queues
        self.model_slots = model_slots
        self.stats = SharedStats(descriptors[0], slots, model_slots, queues)
        self.publication = Publication(descriptors[1])
        self.queue_senders, self.queue_receivers = ends[:queues], ends[queues : 2 * queues]
        self.completion_senders, self.completion_receivers = ends[2 * queues : -slots], ends[-slots:]

    @classmethod
    def create(cls, slots: int, queues: int = 1, model_slots: int = 0) -> "Shared":
        """Make it, in the supervisor.

        Args:
            slots: How many workers there can be at once.
            queues: How many queues there are.
            model_slots: How many model workers there can be at once.
        """
        stats = os.memfd_create("facet-stats", os.MFD_CLOEXEC)
        queue_senders, queue_receivers = zip(*(_pair() for _ in range(queues)), strict=True)
        limit = _TIMEVAL.pack(0, int(RECEIVE_SECONDS * 1_000_000))
        for receiver in queue_receivers:
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        senders, receivers = zip(*(_pair() for _ in range(slots)), strict=True)
        ends = [*queue_senders, *queue_receivers, *senders, *receivers]
        publication = Publication.create().descriptor
        made = cls([stats, publication, *(end.detach() for end in ends)], queues, model_slots)
        made.stats.counters.start()
        return made

    @classmethod
    def inherited(cls, text: str) -> "Shared":
        """Find it in a worker, by the text of `described`.

        Raises:
            LayoutMismatch: It was made by a supervisor of another release.
        """
        layout, *rest = text.split(":")
        if layout != LAYOUT:
            raise LayoutMismatch(
                f"this release shares memory in layout {LAYOUT}, the running supervisor in {layout}; "
                "restart the backend instead of reloading it"
            )
        queues, model_slots, descriptors = rest
        return cls([int(part) for part in descriptors.split(",")], int(queues), int(model_slots))

    def send(self, packet: bytes, descriptor: int, queue: int) -> bool:
        """Put a request's datagram with its buffer into a queue; False where there is no room now.

        Raises:
            OSError: It can never be sent.
        """
        rights = array("i", [descriptor])
        try:
            # Not socket.send_fds, which takes flags and drops them: it would wait for room.
            self.queue_senders[queue].sendmsg(
                [packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], socket.MSG_DONTWAIT
            )
        except OSError as error:
            if error.errno in _NO_ROOM:
                return False
            raise
        return True

    def receive(self, queue: int, *, wait: bool) -> tuple[bytes, int] | None:
        """The oldest request of a queue: its datagram, its buffer's descriptor; None where there is none.

        Args:
            queue: The number of the queue.
            wait: Wait RECEIVE_SECONDS for one.

        Raises:
            LostDescriptor: It came without its buffer, and is lost to this process.
        """
        # Not socket.recv_fds, which takes flags and drops them.
        try:
            packet, rights, flags, _ = self.queue_receivers[queue].recvmsg(
                PACKET.size, socket.CMSG_SPACE(_DESCRIPTOR.size), 0 if wait else socket.MSG_DONTWAIT
            )
        except BlockingIOError:  # also by the socket's time limit
            return None
        if flags & socket.MSG_CTRUNC or not rights:
            raise LostDescriptor
        return packet, _DESCRIPTOR.unpack_from(rights[0][2])[0]

    def described(self) -> str:
        """What `inherited` understands, for a worker's command line: layout, numbers, descriptors."""
        numbers = (LAYOUT, len(self.queue_senders), self.model_slots)
        return ":".join([*map(str, numbers), ",".join(map(str, self.descriptors))])

    def close(self) -> None:
        """Close every descriptor."""
        for descriptor in self.descriptors[:2]:
            os.close(descriptor)
        for end in self._ends:
            end.close()


class Membership(NamedTuple):
    """What all workers share, and what of it is one worker's: its slot, its number among all there were."""

    shared: Shared
    slot: int
    generation: int


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _socket(descriptor: int) -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=descriptor)
