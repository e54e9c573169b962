"""A model in the process that calls it, without a backend: for notebooks, scripts, and other servers.

Nothing stands between the caller and a model that crashes or hangs: both share a process.
"""

import asyncio
import json
import math
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from facet_serving import Model
from inference_server.catalogue.entries import ModelSettings, ModelVersion, Source, State
from inference_server.catalogue.store import Store
from inference_server.dispatch.admission import Load
from inference_server.dispatch.work import Work
from inference_server.models.contract import load
from inference_server.models.encoding import pack_context, unpack_answer
from utils.errors import MORE_TIME_HELPS, DeadlineExceeded
from utils.model_codec import encode_json
from utils.settings import Settings


class LocalModel:
    """One model, which answers one request after the other; it can stand where a worker has its Dispatcher.

    It is loaded and called on one thread, which is none of the caller's.

    Args:
        source: Its class, which may be one of a notebook; or, as `facet models register` takes it, NAME or
            NAME/VERSION of what is built in, in the store or in an installed package.
        store: The folder of models; None for FACET_MODEL_STORE.

    Attributes:
        card: What it says of itself: its version, its schemas, how it can be called.

    Raises:
        ModelNotFound, InvalidModel, ModelLoadFailed: As a registration.
    """

    def __init__(self, source: str | type, store: Path | None = None) -> None:
        version = _version(source, store)
        self._thread = ThreadPoolExecutor(1, "local-model")
        try:
            self._model = self._thread.submit(load, version).result()
        except BaseException:
            self.close()
            raise
        self.card = self._model.card

    def predict(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one input as ServiceClient.predict does: what its output schema describes, bytes in base64.

        Raises:
            InvalidInput: It is not what the input schema describes.
            ModelFailed: The model raised an error, which is logged.
        """
        content, context = encode_json(inputs), pack_context("", "", b"")
        work = Work(self._model.key, "json", context, content, 1.0, time.monotonic(), math.inf)
        answer, _ = unpack_answer(self._thread.submit(self._answer, work).result())
        output: dict[str, Any] = json.loads(answer)
        return output

    def admit(self, load: Load, deadline: float, longest_wait: float = math.inf, queue: int = 0) -> None:  # noqa: ARG002 - as Dispatcher has it
        """Refuse a request that comes too late; how long those before it take is not known."""
        if deadline <= time.monotonic():
            raise DeadlineExceeded(f"The request is later than its deadline. {MORE_TIME_HELPS}")

    async def submit(self, work: Work, longest_wait: float = math.inf) -> bytes:
        """Have work done; gives its answer.

        Raises:
            DeadlineExceeded: It comes too late, or has waited too long.
        """
        self.admit(Load(1, len(work.payload), work.cost), work.deadline, longest_wait, work.queue)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, work)

    def close(self) -> None:
        """End the thread when it has answered what it has begun; what waits is dropped."""
        self._thread.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        """Give the model."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _answer(self, work: Work) -> bytes:
        self.admit(Load(), work.deadline)
        [outcome] = self._model.handle([work])
        return outcome.answer


def predict(source: str | type, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Load a model and have it answer one input; arguments and errors as of LocalModel."""
    with LocalModel(source) as model:
        return model.predict(inputs)


def _version(source: str | type, store: Path | None) -> ModelVersion:
    if isinstance(source, type):
        url = name = (source.name if issubclass(source, Model) else "") or source.__name__
        number, found = "", Source("python", options={"class": f"{source.__module__}:{source.__qualname__}"})
    else:
        resolved = Store(store or Settings.from_environ(os.environ).model_store).resolve(source)
        url, name, number, found = source, resolved.name, resolved.version, resolved.source
    settings, state = ModelSettings(), State.LOADING
    return ModelVersion(name, number, url, found, settings, 0, state, loaded_at_start=False)
