"""One worker process: a gRPC server on the event loop, and one consumer thread.

The supervisor starts it as `python -m inference_server.worker`. It first builds its model, which tests
itself; only then does it listen and say that it is ready.
"""

from inference_server.supervision.processes import leave_signals_to_supervisor

if __name__ == "__main__":
    leave_signals_to_supervisor()  # before all other imports, which take a moment

import asyncio
import contextlib
import gc
import os
import resource
import signal
import time
from collections.abc import Callable, Sequence

import uvloop

from inference_server.api.call_counters import CallCounters
from inference_server.api.face_model import FaceModel
from inference_server.api.health import HealthServicer, ModelHealth
from inference_server.api.infer import InferenceService
from inference_server.api.messages import MessageReceiver
from inference_server.api.model_call import ModelCaller
from inference_server.api.registry import ModelRegistry
from inference_server.api.server import Server, ServerContext
from inference_server.api.submission import Submissions
from inference_server.api.torchserve import TorchServeService
from inference_server.boot import EXIT_DIED, begin, fail
from inference_server.dispatch.consumer import Consumer
from inference_server.dispatch.dispatcher import Dispatcher
from inference_server.dispatch.shared import Membership, Shared
from inference_server.models.face_detection import FaceDetection
from inference_server.models.face_messages import face_card
from inference_server.supervision.control import (
    Drain,
    Ready,
    RetirementRequested,
    SetLogLevel,
    Stop,
    SuspectCleared,
    WorkerDied,
    WorkerEnd,
)
from inference_server.tls_handover import taken_over
from utils.logs import set_level
from utils.settings import Settings
from utils.tls import TlsFiles, TlsUnusable
from utils.tracing import Tracer, start

_HEARTBEAT_SECONDS = 0.25
_LOOK_SECONDS = 0.02


def main(build: Callable[[Settings], FaceDetection] = FaceDetection.build) -> None:
    """Run a worker until it is told to stop.

    Args:
        build: Builds the model and proves that it works.
    """
    leave_signals_to_supervisor()  # again, for a main module that is another one
    arguments, settings, control = begin(
        "A worker.",
        address="host:port, shared with the other workers",
        newer={
            "torchserve_address": "that of TorchServe's protocol; empty for none",
            "tls_fd": "what the files of TLS held",
        },
    )
    # Requests travel as descriptors: as many may be open, or on their way, as the system allows.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        shared = Shared.inherited(arguments.shared)
        tls = taken_over(settings, arguments.tls_fd)
        model = build(settings)
        tracer = start(settings, "facet-backend")
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor is told
        fail(control, error, FaceDetection.permanent_errors)
    membership = Membership(shared, arguments.slot, arguments.generation)
    worker = Worker(settings, model, control, membership, tracer)
    uvloop.run(worker.run(arguments.address, arguments.torchserve_address, tls))
    # All is answered. Taking TensorFlow apart may last seconds without a heartbeat.
    os._exit(0)


class Worker:
    """The part of a worker's life in which it serves."""

    def __init__(
        self,
        settings: Settings,
        model: FaceDetection,
        control: WorkerEnd,
        membership: Membership,
        tracer: Tracer,
    ) -> None:
        self._settings = settings
        self._model = model
        self._control = control
        self._membership = membership
        self._tracer = tracer
        self._health = HealthServicer([InferenceService.name])
        self._models = ModelRegistry(membership.shared.publication, face_card)
        self._model_health = ModelHealth(self._health, self._models)
        self._stop = asyncio.Event()
        self._whole_backend_stops = False

    async def run(self, address: str, torchserve_address: str, tls: TlsFiles | None) -> None:
        """Serve until told to stop, then finish what was accepted."""
        # What is there now stays: no collection has to walk through it while a request waits.
        gc.collect()
        gc.freeze()
        self._heartbeat()
        self._dispatcher = Dispatcher(self._membership)
        consumer = Consumer(
            self._membership,
            compute=self._model.handle,
            encode_error=self._model.encode_error,
            on_suspect_cleared=lambda key: self._control.send(SuspectCleared(key)),
            on_death=lambda: os._exit(EXIT_DIED),
        )
        try:
            stats = self._membership.shared.stats
            keyed = self._settings.api_keys_file is not None
            counters = CallCounters(stats.counters, self._membership.slot, keyed=keyed)
            submissions = Submissions(self._dispatcher, counters)
            inference = InferenceService(submissions, self._model, self._settings)
            models = ModelCaller(self._models, submissions, FaceModel(inference), self._settings)
            torchserve = (TorchServeService(models, stats.consumers), torchserve_address)
            context = ServerContext(
                settings=self._settings, health=self._health, counters=counters, tls=tls, tracer=self._tracer
            )
            servers, receiver = context.build(
                [inference], address, models, torchserve if torchserve_address else None
            )
            for server in servers:
                await server.start()
        except (RuntimeError, OSError, TlsUnusable) as error:
            fail(self._control, error)
        consumer.start()
        announcing = asyncio.create_task(self._announce())
        await asyncio.wait([announcing], timeout=_LOOK_SECONDS)
        loop = asyncio.get_running_loop()
        # It stops when the supervisor says so, which first starts another or stops them all.
        loop.add_signal_handler(signal.SIGTERM, self._control.send, RetirementRequested())
        loop.add_reader(self._control, self._receive)
        choice = self._model.choice
        ready = Ready(choice.engine, choice.instruction_set, choice.reason, degraded=choice.degraded)
        self._control.send(ready)
        await self._stop.wait()
        announcing.cancel()
        await self._leave(servers, receiver, consumer)

    async def _announce(self) -> None:
        """Be SERVING from when all models that are served from the start have been loaded, or have failed."""
        while not self._models.is_settled:  # noqa: ASYNC110 - looked for, not told
            await asyncio.sleep(_LOOK_SECONDS)
        await self._health.tell(serving=True)

    async def _leave(self, servers: Sequence[Server], receiver: MessageReceiver, consumer: Consumer) -> None:
        """Take no more calls, finish those that were accepted, and end."""
        if self._whole_backend_stops:
            # Health is the backend's: a worker that leaves alone stays SERVING.
            await self._health.tell(serving=False)
            await asyncio.sleep(self._settings.drain_seconds)  # so that load balancers notice
        grace = self._settings.grace_seconds
        # Calls whose message is still on its way are known to the server alone.
        stopping = asyncio.gather(*(server.stop(grace) for server in servers))
        self._health.leave()
        receiver.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._finish()
        await stopping
        await asyncio.to_thread(consumer.stop)
        await asyncio.to_thread(self._tracer.close)
        self._dispatcher.close()

    async def _finish(self) -> None:
        """Wait until what was accepted here is answered; when all stop, what was accepted anywhere.

        While everybody leaves, a worker without calls of its own still computes those of the others.
        """
        stats = self._membership.shared.stats
        # Looked for, not told: the others' requests are known by the shared statistics alone.
        while not self._dispatcher.idle or (  # noqa: ASYNC110
            self._whole_backend_stops and stats.waiting(FaceDetection.queue)[0]
        ):
            await asyncio.sleep(_LOOK_SECONDS)

    def _heartbeat(self) -> None:
        """Show the supervisor that the event loop turns, and callers the health of the models as it is."""
        shared, slot, _ = self._membership
        shared.stats.rows[slot].heartbeat = time.monotonic()
        asyncio.get_running_loop().call_later(_HEARTBEAT_SECONDS, self._heartbeat)
        self._model_health.refresh()

    def _receive(self) -> None:
        try:
            while (message := self._control.receive()) is not None:
                match message:
                    case Drain():
                        self._whole_backend_stops = True
                        self._stop.set()
                    case Stop():
                        self._stop.set()
                    case WorkerDied(slot, generation, queue):
                        self._dispatcher.worker_died(slot, generation, queue)
                    case SetLogLevel(level):
                        set_level(level)
        except EOFError:  # the supervisor is gone, and takes its workers along
            os._exit(EXIT_DIED)


if __name__ == "__main__":
    main()
