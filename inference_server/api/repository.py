"""Loading and unloading of models by callers of the inference port, where FACET_MODEL_API allows it."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from inference_server.api.registry import ModelRegistry
from inference_server.catalogue.commands import Command, Register, Reload, SetDefault, Unregister
from inference_server.catalogue.control_socket import NAME, call
from inference_server.catalogue.entries import State
from utils.errors import (
    BackendUnavailable,
    FacetError,
    ModelApiDisabled,
    ModelExists,
    ModelNotFound,
    ModelNotReady,
    TooManyChanges,
    shown,
)
from utils.settings import Settings
from utils.status import RETRY_SECONDS

_MOST_CHANGES = 4
"""That a worker waits for at once: each of them holds a thread."""


class Repository:
    """Has the supervisor change the models, over its socket.

    Args:
        registry: Of the models.
        settings: For the permission, the socket and the times.
    """

    def __init__(self, registry: ModelRegistry, settings: Settings) -> None:
        self._registry = registry
        self._is_allowed = settings.model_api
        self._folder = settings.state_dir
        self._seconds = settings.max_timeout_seconds
        # Of its own: calls of face detection need those of the event loop.
        self._threads = ThreadPoolExecutor(_MOST_CHANGES, thread_name_prefix="repository")
        self._free = threading.Semaphore(_MOST_CHANGES)

    async def load(self, name: str, context: Any) -> None:  # noqa: ANN401
        """Serve the highest version of a model that is in the store or a package, as its default.

        Where that is served already, all versions of the model that are served are reloaded.

        Raises:
            ModelApiDisabled: Callers may not.
            FacetError: It cannot be loaded, or is registered and not served; the detail begins with
                `failed to load`.
        """
        self._check()
        try:
            try:
                loaded = await self._execute(Register(name), context)
            except ModelExists:
                for version in self._registry.current().of(name):
                    await self._execute(Reload(name, version.version), context)
                self._check_served(name)
            else:
                await self._execute(SetDefault(loaded["name"], loaded["version"]), context)
        except FacetError as error:
            detail = f"failed to load '{shown(name)}': {error.detail}"
            raise type(error)(detail, field=error.field, retry_after=error.retry_after) from error

    async def unload(self, name: str, context: Any) -> None:  # noqa: ANN401
        """Serve no version of a model any more.

        Raises:
            ModelApiDisabled: Callers may not.
            ModelNotFound: There is no such model.
        """
        self._check()
        catalogue = self._registry.current()
        versions = [one.version for one in catalogue.of(name)]
        if not versions:
            raise ModelNotFound(f"failed to unload '{shown(name)}': it is not loaded", field="model_name")
        default = catalogue.defaults.get(name)
        for version in sorted(versions, key=lambda one: one == default):  # the default goes last
            await self._execute(Unregister(name, version), context)

    def _check(self) -> None:
        if not self._is_allowed:
            raise ModelApiDisabled("Models are not loaded and unloaded here: FACET_MODEL_API is off.")

    def _check_served(self, name: str) -> None:
        """Look whether the highest version of a model is served.

        Raises:
            ModelNotReady: It is not.
        """
        for one in self._registry.current().of(name)[-1:]:
            if one.state is not State.READY:
                why = f": {one.failure}" if one.failure else ""
                told = f"it is registered already, and {one.state.value}{why}"
                raise ModelNotReady(told, field="model_name")

    async def _execute(self, command: Command, context: Any) -> dict[str, Any]:  # noqa: ANN401
        if self._folder is None:
            raise BackendUnavailable("This backend takes no changes: it has no FACET_STATE_DIR.")
        if not self._free.acquire(blocking=False):
            raise TooManyChanges(
                f"This worker waits for {_MOST_CHANGES} changes of models; accepted: no more at once",
                retry_after=RETRY_SECONDS,
            )
        remaining = context.time_remaining()
        seconds = self._seconds if remaining is None else min(remaining, self._seconds)
        done = asyncio.wrap_future(self._threads.submit(self._call, self._folder / NAME, command, seconds))
        done.add_done_callback(_retrieve)
        return await asyncio.shield(done)  # a thread goes on when its caller has left

    def _call(self, path: Path, command: Command, seconds: float) -> dict[str, Any]:
        try:
            return call(path, command, seconds)
        finally:
            self._free.release()


def _retrieve(done: "asyncio.Future[dict[str, Any]]") -> None:
    """Look at how a change ended, whose caller may have left: asyncio logs what nobody has looked at."""
    if not done.cancelled():
        done.exception()
