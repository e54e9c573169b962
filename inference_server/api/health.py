"""Health, of the models, too, whose watchers do not hold up a worker that leaves."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from inference_server.api.registry import ModelRegistry
from inference_server.catalogue.entries import State

MODELS = "models/"
"""What the name of a model's health begins with."""


class HealthServicer(health.aio.HealthServicer):  # type: ignore[misc]
    """gRPC's own, whose streams would last as long as their watchers like.

    Args:
        services: The full names of the services whose health is told, the whole server's beside them.
    """

    name = health.SERVICE_NAME
    file = health_pb2.DESCRIPTOR

    def __init__(self, services: Iterable[str]) -> None:
        super().__init__()
        self._services = ("", *services)
        # Until it is told otherwise; of the whole server gRPC's own says from its start on that it serves.
        self._server_status.update(dict.fromkeys(self._services, _status(serving=False)))
        self._watches: set[asyncio.Task[None]] = set()
        self._left = False
        self._serving = False
        self._models: dict[str, bool] = {}
        self._turn = asyncio.Lock()

    @property
    def serving(self) -> bool:
        """What it answers for the whole server."""
        return self._serving

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register its methods."""
        health_pb2_grpc.add_HealthServicer_to_server(self, server)

    async def tell(self, *, serving: bool) -> None:
        """From now on answer for all services and models that they are served, or that they are not."""
        async with self._turn:
            self._serving = serving
            for service in self._services:
                await self.set(service, _status(serving))
            for model, ready in self._models.items():
                await self.set(MODELS + model, _status(serving and ready))

    async def tell_models(self, ready: Mapping[str, bool]) -> None:
        """From now on answer for these models, and no others, `models/NAME` each.

        Args:
            ready: For each name whether its calls are served, as far as the model is concerned.
        """
        async with self._turn:
            gone = self._models.keys() - ready
            self._models = dict(ready)
            for model, is_ready in ready.items():
                await self.set(MODELS + model, _status(self._serving and is_ready))
            for model in gone:
                # For those that watch it; who checks it is told that there is none.
                await self.set(MODELS + model, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
                del self._server_status[MODELS + model]

    async def List(self, request: Any, context: Any) -> health_pb2.HealthListResponse:  # noqa: ANN401, ARG002, N802
        """Tell the health of all services."""
        statuses = self._server_status.items()
        return health_pb2.HealthListResponse(
            statuses={service: health_pb2.HealthCheckResponse(status=status) for service, status in statuses}
        )

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: ANN401, N802
        """Tell a watcher of each change, until either leaves."""
        if self._left:  # it was accepted before, and begins after
            return
        watch: asyncio.Task[None] = asyncio.create_task(super().Watch(request, context))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        try:
            await watch
        except asyncio.CancelledError:
            if not self._left:
                raise

    def leave(self) -> None:
        """End all streams: who watches asks again, and is told by another worker."""
        self._left = True
        for watch in self._watches:
            watch.cancel()


class ModelHealth:
    """Has the health of the models told as the catalogue changes.

    Args:
        health: Tells it.
        registry: Of the models.
    """

    def __init__(self, health: HealthServicer, registry: ModelRegistry) -> None:
        self._health = health
        self._registry = registry
        self._generation = -1
        self._telling: asyncio.Task[None] | None = None

    def refresh(self) -> None:
        """Tell it where something was published since; at the cost of a look at memory where not."""
        generation = self._registry.generation
        if generation != self._generation and (self._telling is None or self._telling.done()):
            self._generation = generation
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        catalogue = self._registry.current()
        ready = {version.name: version.state is State.READY for version in self._registry.defaults()}
        await self._health.tell_models({name: ready.get(name, False) for name in catalogue.names()})


def _status(serving: bool) -> Any:  # noqa: ANN401 - a number of an enumeration
    statuses = health_pb2.HealthCheckResponse
    return statuses.SERVING if serving else statuses.NOT_SERVING
