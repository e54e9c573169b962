"""Models in the process of their caller, without a server: for notebooks, scripts, and other backends."""

import asyncio
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import orjson
import pybase64

from inference_server.catalogue.entries import ModelSettings, ModelVersion, Source, State
from inference_server.catalogue.store import Resolved, Store
from inference_server.dispatch.admission import Load
from inference_server.dispatch.consumer import Outcome
from inference_server.dispatch.work import Work
from inference_server.models.contract import LoadedModel
from inference_server.models.contract import load as load_version
from inference_server.models.encoding import pack_context, unpack_answer
from utils.errors import MORE_TIME_HELPS, DeadlineExceeded, ModelNotFound
from utils.settings import Settings

_COST = 1.0


def load(model: str | type | Source) -> LoadedModel:
    """Load a model as its process in a backend would.

    Args:
        model: What `facet models register` takes, looked up in FACET_MODEL_STORE and the installed packages;
            or the class of a model, which must not be made inside a function; or the source of a version.

    Raises:
        ModelNotFound: There is no such model.
        InvalidModel, ModelLoadFailed: It cannot be loaded.
    """
    found = _found(model)
    version = ModelVersion(
        name=found.name,
        version=found.version,
        url=found.name,
        source=found.source,
        settings=found.settings,
        queue=0,
        state=State.READY,
        loaded_at_start=False,
    )
    return load_version(version, _settings().max_answer_bytes)


def predict(
    model: LoadedModel | str | type | Source, inputs: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The outputs for inputs, exactly what a backend would answer to them, in batches as large as can be.

    Args:
        model: Loaded, or what `load` takes.
        inputs: The members of each; bytes may be given as they are, or in base64 as JSON has them.

    Returns:
        The members of each output, as JSON has them.

    Raises:
        FacetError: What the first input is refused with that is.
    """
    loaded = model if isinstance(model, LoadedModel) else load(model)
    context, now = pack_context("", "", b""), time.monotonic()
    contents = [orjson.dumps(dict(one), default=_base64) for one in inputs]
    works = [Work(loaded.key, "json", context, content, _COST, now, math.inf) for content in contents]
    return [orjson.loads(unpack_answer(outcome.answer)[0]) for outcome in loaded.handle(works)]


class HostedModel(Protocol):
    """The part of a model that LocalDispatcher calls: LoadedModel has it, and LocalFaces."""

    key: str

    def handle(self, works: Sequence[Work]) -> Sequence[Outcome]:
        """Answer requests."""


class LocalDispatcher:
    """The interface of `inference_server.dispatch.dispatcher.Dispatcher` over models of this process.

    One thread computes for all of them, one request after the other. Nothing is predicted: a request is
    computed if its turn comes before its deadline, and answered then or at its deadline.

    Args:
        models: Those that work can be for.
    """

    def __init__(self, models: Iterable[HostedModel]) -> None:
        self._models = {model.key: model for model in models}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="models")

    def admit(self, load: Load, deadline: float, longest_wait: float = math.inf, queue: int = 0) -> None:  # noqa: ARG002
        """Refuse a request whose time is over.

        Raises:
            DeadlineExceeded: It is.
        """
        if deadline < time.monotonic():
            raise _late()

    async def submit(self, work: Work, longest_wait: float = math.inf) -> bytes:  # noqa: ARG002
        """Have work done; gives its answer. What is late or cancelled before its turn is not computed.

        Raises:
            ModelNotFound: The work is for none of the models.
            DeadlineExceeded: Its answer is not there in time.
        """
        model = self._models.get(work.model)
        if model is None:
            raise ModelNotFound(f"There is no model {work.model} in this process.", field="name")
        seconds = None if math.isinf(work.deadline) else work.deadline - time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().run_in_executor(self._thread, _answer, model, work)
        except TimeoutError as error:
            raise _late() from error

    def close(self) -> None:
        """End the thread, after what it computes."""
        self._thread.shutdown(cancel_futures=True)


def _answer(model: HostedModel, work: Work) -> bytes:
    [outcome] = model.handle([work])
    return outcome.answer


def _late() -> DeadlineExceeded:
    return DeadlineExceeded(
        f"The request waited too long to be answered before its deadline. {MORE_TIME_HELPS}"
    )


def _found(model: str | type | Source) -> Resolved:
    if isinstance(model, str):
        return Store(_settings().model_store).resolve(model)
    name = "model"
    if isinstance(model, type):
        name = getattr(model, "name", "") or model.__name__
        model = Source("python", options={"class": f"{model.__module__}:{model.__qualname__}"})
    return Resolved(name, "", model, ModelSettings())


def _settings() -> Settings:
    return Settings.from_environ(os.environ)


def _base64(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return pybase64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} is nothing that JSON can have")
