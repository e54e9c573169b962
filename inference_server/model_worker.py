"""One model worker: a process that hosts one version of one model and takes requests from its queue.

The supervisor starts it as `python -m inference_server.model_worker`. It never listens: whatever the model
does, no connection breaks, and what it had in flight is done by another process or refused.
"""

from inference_server.supervision.processes import kill_group_when_closed, leave_signals_to_supervisor

if __name__ == "__main__":
    leave_signals_to_supervisor()  # before all other imports, which take a moment

import gc
import json
import os
import resource
import selectors
import signal
import time
from collections.abc import Mapping
from typing import Any

from inference_server.boot import EXIT_DIED, begin, fail
from inference_server.catalogue.entries import Catalogue, ModelVersion
from inference_server.catalogue.growth import check_kept
from inference_server.dispatch.batch_consumer import BatchConsumer
from inference_server.dispatch.publication import Publication
from inference_server.dispatch.shared import Membership, Shared
from inference_server.models.contract import LoadedModel, load
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
from utils.errors import InvalidModel
from utils.logs import set_level

_HEARTBEAT_SECONDS = 0.25
_STDOUT, _STDERR = 1, 2


def main() -> None:
    """Run a model worker until it is told to stop."""
    os.dup2(_STDERR, _STDOUT)  # what a model prints belongs to the log
    arguments, settings, control = begin(
        "Hosts a model.",
        version="the version of the model, as JSON",
        card_fd="file that takes its card",
        supervisor_fd="pipe that the supervisor holds open while it lives",
    )
    kill_group_when_closed(int(arguments.supervisor_fd))
    try:
        shared = Shared.inherited(arguments.shared)
        version = ModelVersion.from_dict(json.loads(arguments.version))
        _limit_memory(version.settings.memory_bytes)
        model = load(version, settings.max_answer_bytes)
        _check_kept(model.card, version, shared.publication)
        _write(int(arguments.card_fd), json.dumps(model.card).encode())
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor is told
        fail(control, error, (InvalidModel,))
    membership = Membership(shared, arguments.slot, arguments.generation)
    ModelWorker(model, version, control, membership).run()
    os._exit(0)  # not by the interpreter's own end, which waits for threads of the model's


def _limit_memory(most: int) -> None:
    """Have allocations beyond so many bytes fail, which no other process feels; 0 is no limit."""
    if most:
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _check_kept(card: Mapping[str, Any], version: ModelVersion, publication: Publication) -> None:
    """Refuse to serve a model whose package or files have changed so that clients of its version break.

    Raises:
        InvalidModel: Its card does not keep what the published one of the version says.
    """
    catalogue = Catalogue.from_json(publication.read()[1])
    for published in catalogue.of(version.name):
        if published.queue == version.queue and published.card is not None:
            check_kept(card, published.card)


def _write(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


class ModelWorker:
    """The part of a model worker's life in which it takes requests.

    The consumer's thread computes; this one, the main thread, shows that the process lives and listens to the
    supervisor.
    """

    def __init__(
        self, model: LoadedModel, version: ModelVersion, control: WorkerEnd, membership: Membership
    ) -> None:
        self._control = control
        self._row = membership.shared.stats.rows[membership.slot]
        self._model = model
        self._stopping = self._retiring = False
        self._consumer = BatchConsumer(
            membership,
            compute_batch=model.handle,
            encode_error=model.encode_error,
            on_suspect_cleared=lambda key: control.send(SuspectCleared(key)),
            on_death=lambda: os._exit(EXIT_DIED),
            queue=version.queue,
            max_batch=model.max_batch,
            max_batch_delay=version.settings.max_batch_delay,
        )

    def run(self) -> None:
        """Take requests until told to stop; what is in flight then is finished."""
        gc.collect()
        gc.freeze()
        signal.signal(signal.SIGTERM, lambda *_: self._control.send(RetirementRequested()))
        self._row.heartbeat = time.monotonic()  # the last one is from before the model was loaded
        # Before the consumer: its first request may end this process, which then had booted.
        self._control.send(Ready())
        self._consumer.start()
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            while not self._stopping:
                self._row.heartbeat = time.monotonic()
                if self._model.out_of_memory and not self._retiring:
                    self._retiring = self._control.send(RetirementRequested())
                if selector.select(_HEARTBEAT_SECONDS):
                    self._receive()
        self._consumer.stop()

    def _receive(self) -> None:
        try:
            while (message := self._control.receive()) is not None:
                match message:
                    case Drain() | Stop():
                        self._stopping = True
                    case SetLogLevel(level):
                        set_level(level)
                    case WorkerDied():  # who dispatches is told
                        pass
        except EOFError:  # the supervisor is gone, and takes its children along
            os._exit(EXIT_DIED)


if __name__ == "__main__":
    main()
