"""Health, whose watchers do not hold up a worker that leaves."""

import asyncio
from collections.abc import Iterable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


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
        self._watches: set[asyncio.Task[None]] = set()
        self._left = False

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register its methods."""
        health_pb2_grpc.add_HealthServicer_to_server(self, server)

    async def tell(self, *, serving: bool) -> None:
        """From now on answer for all services that they are served, or that they are not."""
        statuses = health_pb2.HealthCheckResponse
        for service in self._services:
            await self.set(service, statuses.SERVING if serving else statuses.NOT_SERVING)

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
