"""Several workers' dispatch in one process: real sockets and threads, and no gRPC."""

import os
import time
from collections.abc import Callable, Sequence

from inference_server.dispatch.batch_consumer import BatchConsumer
from inference_server.dispatch.consumer import Checkpoint, Consumer, Outcome
from inference_server.dispatch.dispatcher import Dispatcher
from inference_server.dispatch.request_buffer import RequestBuffer
from inference_server.dispatch.shared import PACKET, Membership, Shared
from inference_server.dispatch.stats import SharedStats
from inference_server.dispatch.work import Work
from inference_server.supervision.liveness import LivenessMonitor


def work(payload: bytes, seconds: float = 60.0, queue: int = 0) -> Work:
    """Work of cost 1 that is wanted for so long."""
    now = time.monotonic()
    return Work("model", "shout", b"context", payload, 1.0, now, now + seconds, queue=queue)


def key_of(payload: bytes) -> bytes:
    """What work on this payload is known by."""
    return work(payload).key()


def shout(given: Work, _checkpoint: Checkpoint) -> bytes:
    """A model whose answer shows what it was given."""
    return given.context + b" " + given.payload.upper()


def shout_all(given: Sequence[Work]) -> list[Outcome]:
    """The same for a batch."""
    return [Outcome(work.context + b" " + work.payload.upper(), complete=True) for work in given]


def shared_stats(slots: int = 1, model_slots: int = 0, queues: int = 1) -> SharedStats:
    """What processes share of their statistics, without the processes."""
    made = SharedStats(os.memfd_create("stats"), slots, model_slots, queues)
    made.counters.start()
    return made


class Machine:
    """Slots of workers, then of model workers, with dispatchers and consumers on what they share."""

    def __init__(self, slots: int, queues: int = 1, model_slots: int = 0) -> None:
        self.shared = Shared.create(slots, queues, model_slots)
        self.deaths: list[int] = []
        self.cleared: list[bytes] = []
        self.computed: list[bytes] = []
        """Payloads, in the order in which they were begun."""
        self.batches: list[list[bytes]] = []
        """Payloads that were computed together."""
        self.consumers: list[Consumer] = []
        for slot, row in enumerate(self.shared.stats.rows):
            row.assign(100 + slot, time.monotonic())
            row.consuming = 0 if slot < slots else None

    def dispatcher(self, slot: int) -> Dispatcher:
        """The dispatcher of a slot, on the event loop that runs."""
        return Dispatcher(self._membership(slot))

    def consume(
        self, slot: int, compute: Callable[[Work, Checkpoint], bytes] = shout, queue: int = 0
    ) -> None:
        """Start the consumer of a slot."""

        def computed(given: Work, checkpoint: Checkpoint) -> Outcome:
            self.computed.append(given.payload)
            return Outcome(compute(given, checkpoint), complete=True)

        consumer = Consumer(
            self._membership(slot),
            compute=computed,
            encode_error=lambda error: f"refused: {error.reason}".encode(),
            on_suspect_cleared=self.cleared.append,
            on_death=lambda: self.deaths.append(slot),
            queue=queue,
        )
        self.consumers.append(consumer)
        consumer.start()

    def consume_batches(
        self,
        slot: int,
        compute: Callable[[Sequence[Work]], Sequence[Outcome]] = shout_all,
        *,
        max_batch: int = 8,
        max_batch_delay: float = 0.0,
        queue: int = 1,
    ) -> None:
        """Start the batching consumer of a slot."""

        def computed(given: Sequence[Work], _checkpoint: Checkpoint) -> Sequence[Outcome]:
            self.batches.append([work.payload for work in given])
            return compute(given)

        consumer = BatchConsumer(
            self._membership(slot),
            compute_batch=computed,
            max_batch=max_batch,
            max_batch_delay=max_batch_delay,
            encode_error=lambda error: f"refused: {error.reason}".encode(),
            on_suspect_cleared=self.cleared.append,
            on_death=lambda: self.deaths.append(slot),
            queue=queue,
        )
        self.consumers.append(consumer)
        consumer.start()

    def take(self, queue: int = 0) -> tuple[RequestBuffer, int, bytes]:
        """Receive the next request of a queue as a consumer does; buffer, dispatcher, packet."""
        taken = self.shared.receive(queue, wait=True)
        assert taken is not None, "nothing is in the queue"
        packet, descriptor = taken
        return RequestBuffer(descriptor), PACKET.unpack(packet)[0], packet

    def blame(self, payload: bytes, deaths: int) -> None:
        """Have workers die with a payload in flight."""
        for _ in range(deaths):
            self.shared.stats.poison.record_death(key_of(payload), time.monotonic())

    def die(self, slot: int, dispatcher: Dispatcher, queue: int = 0) -> None:
        """Do what the supervisor does when the consumer of a queue in a slot has died."""
        death = LivenessMonitor(self.shared.stats, hang_seconds=60).release_slot(slot)
        dispatcher.worker_died(slot, death.generation, queue)

    def close(self) -> None:
        """Stop the consumers, and close what they share."""
        for consumer in self.consumers:
            consumer.stop()
        self.shared.close()

    def _membership(self, slot: int) -> Membership:
        return Membership(self.shared, slot, self.shared.stats.rows[slot].generation)


class Clock:
    """Stands for the module `time`: a clock that a test puts forward."""

    sleep = staticmethod(time.sleep)

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        """The real one, and so many seconds ahead."""
        return time.monotonic() + self.ahead
