"""Several workers' dispatch in one process: real sockets and threads, and no gRPC."""

import socket
import time
from collections.abc import Callable

from inference_server.dispatch.admission import Load
from inference_server.dispatch.consumer import Checkpoint, Consumer, Outcome
from inference_server.dispatch.envelope import Envelope, Work
from inference_server.dispatch.front import Front
from inference_server.dispatch.shared import PACKET, Shared
from inference_server.dispatch.suspects import Suspects

ONE = Load(1, 10, 1.0)


def work(picture: bytes, seconds: float = 60.0) -> Work:
    """Work on a picture that is wanted for so long."""
    now = time.monotonic()
    return Work(b"context", picture, 1.0, now, now + seconds)


def shout(given: Work, _checkpoint: Checkpoint) -> bytes:
    """A detector whose answer shows what it was given."""
    return given.context + b" " + given.picture.upper()


class Machine:
    """Slots with fronts and consumers on what they share."""

    def __init__(self, slots: int) -> None:
        self.shared = Shared.create(slots)
        self.deaths: list[int] = []
        self.innocent: list[bytes] = []
        self.computed: list[bytes] = []
        """Pictures, in the order in which they were begun."""
        self.consumers: list[Consumer] = []
        for slot in range(slots):
            self.shared.page.rows[slot].enlist(100 + slot, time.monotonic())
            self.shared.page.rows[slot].consuming = True

    def front(self, slot: int) -> Front:
        """The front of a slot, on the event loop that runs."""
        return Front(
            self.shared,
            slot,
            self.shared.page.rows[slot].generation,
            on_innocent=self.innocent.append,
        )

    def consume(
        self,
        slot: int,
        compute: Callable[[Work, Checkpoint], bytes] = shout,
        suspects: Suspects | None = None,
    ) -> None:
        """Start the consumer of a slot."""

        def computed(given: Work, checkpoint: Checkpoint) -> Outcome:
            self.computed.append(given.picture)
            return Outcome(compute(given, checkpoint), complete=True)

        consumer = Consumer(
            self.shared,
            slot,
            self.shared.page.rows[slot].generation,
            compute=computed,
            suspects=suspects or Suspects(),
            refuse=lambda error: f"refused: {error.reason}".encode(),
            on_death=lambda: self.deaths.append(slot),
        )
        self.consumers.append(consumer)
        consumer.start()

    def take(self) -> tuple[Envelope, int, bytes]:
        """Receive the next request as a consumer does; envelope, front, packet."""
        packet, (descriptor,), _, _ = socket.recv_fds(self.shared.take, PACKET.size, 1)
        return Envelope(descriptor), PACKET.unpack(packet)[0], packet

    def die(self, slot: int, front: Front, deaths: int = 1) -> None:
        """Do what the supervisor does when the worker in a slot has died."""
        row = self.shared.page.rows[slot]
        generation, checksum = row.generation, row.checksum
        row.clear()
        front.worker_died(slot, generation, checksum, deaths if checksum else 0)

    def close(self) -> None:
        """Stop the consumers, and close what they share."""
        for consumer in self.consumers:
            consumer.stop()
        self.shared.close()


class Clock:
    """Stands for the module `time`: a clock that a test puts forward."""

    sleep = staticmethod(time.sleep)

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        """The real one, and so many seconds ahead."""
        return time.monotonic() + self.ahead
