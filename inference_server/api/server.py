"""A worker's gRPC servers: their services, and what they take from a connection."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc

from inference_server.api.access import CallAccess
from inference_server.api.articles import article_services
from inference_server.api.call_counters import CallCounters
from inference_server.api.health import HealthServicer
from inference_server.api.interceptor import CallInterceptor, CallPolicy
from inference_server.api.messages import MessageReceiver
from inference_server.api.model_call import ModelCaller
from inference_server.api.models import ModelsService
from inference_server.api.oip import InferenceProtocolService
from inference_server.api.reflection import add_reflection
from inference_server.api.torchserve import TorchServePolicy, TorchServeService
from inference_server.api.typed import TypedService
from inference_server.dispatch.admission import MAX_WAITING
from utils.access import Access
from utils.codec import TRANSPORT_MARGIN
from utils.credentials import listen
from utils.metadata import MAX_METADATA
from utils.settings import Settings
from utils.tls import TlsFiles
from utils.tracing import NO_TRACER, Tracer

_WINDOW = 64 * 1024
"""Bytes that a call may send before its message is asked for. gRPC would else raise it to megabytes."""
_ANSWER_SECONDS = 5.0

KEEPALIVE = (
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)
"""Without it a server closes connections that ping as often as our clients do: `utils.channel`."""

Server = grpc.aio.Server


class Service(Protocol):
    """A service: its full name, and the descriptor of the file that declares it, None where that changes."""

    name: str
    file: Any

    def add_to(self, server: Server) -> None:
        """Register its methods."""


@dataclass(frozen=True, kw_only=True)
class ServerContext:
    """What a worker's servers have in common.

    Attributes:
        settings: Limits and times.
        health: Tells whether they are served.
        counters: Count the calls.
        tls: By which they speak TLS; None for not at all.
        tracer: Decides which of the calls are traced.
    """

    settings: Settings
    health: HealthServicer
    counters: CallCounters = field(default_factory=CallCounters.unshared)
    tls: TlsFiles | None = None
    tracer: Tracer = NO_TRACER

    def build(
        self,
        services: Sequence[Service],
        address: str,
        models: ModelCaller | None = None,
        torchserve: tuple[TorchServeService, str] | None = None,
    ) -> tuple[list[Server], MessageReceiver]:
        """Servers that will listen at addresses shared with other workers, and what receives for them.

        Args:
            services: Those whose calls are requests for faces: logged, and with room for pictures. Health and
                reflection come beside them.
            address: host:port.
            models: Calls models; with it come the services by which they are called. None: there are none.
            torchserve: TorchServe's service and its host:port, which is a server of its own.

        Raises:
            RuntimeError: They cannot listen there.
            TlsUnusable: The files of TLS cannot be used.
            OSError: There is no place where requests can be counted.
        """
        settings = self.settings
        of_models = [] if models is None else self._services_of(models)
        of_torchserve = [] if torchserve is None else [torchserve[0]]
        # Both servers' messages are received within the limits of one.
        receiver = self._receiver(services, [*of_models, *of_torchserve])
        access = CallAccess(Access.of(settings))
        everything = (*services, *of_models, self.health)
        interceptor = self._interceptor([*services, *of_models], receiver, access)
        server = self._listening(interceptor, everything, address)
        files = [service.file for service in everything if service.file is not None]
        add_reflection(server, files, models.registry if models is not None else None)
        if torchserve is None:
            return [server], receiver
        # Where it has tokens of its own, those are demanded.
        checked = access if settings.torchserve_key_file is None else None
        interceptor = self._interceptor(of_torchserve, receiver, checked, TorchServePolicy(settings))
        return [server, self._listening(interceptor, of_torchserve, torchserve[1])], receiver

    def surrounded(
        self, services: Sequence[Service], models: ModelCaller
    ) -> tuple[list[Service], CallInterceptor]:
        """All services for a server that is not ours, health included, and what surrounds their calls.

        Args:
            services: As of `build`.
            models: The same.

        Raises:
            OSError: There is no place where requests can be counted.
        """
        of_models = self._services_of(models)
        receiver, access = self._receiver(services, of_models), CallAccess(Access.of(self.settings))
        interceptor = self._interceptor([*services, *of_models], receiver, access)
        return [*services, *of_models, self.health], interceptor

    def _receiver(self, services: Sequence[Service], of_models: Sequence[Service]) -> MessageReceiver:
        settings = self.settings
        return MessageReceiver(
            _names(services),
            settings.max_image_bytes + TRANSPORT_MARGIN,
            settings.max_timeout_seconds,
            models=_names(of_models),
            largest_for_models=settings.max_request_bytes + TRANSPORT_MARGIN,
        )

    def _services_of(self, models: ModelCaller) -> list[Service]:
        """All those by which models are called."""
        settings = self.settings
        protocols = []
        if settings.oip:
            protocols = [InferenceProtocolService(models, self.health, settings, self.counters.all)]
        return [ModelsService(models), TypedService(models), *article_services(models, settings), *protocols]

    def _interceptor(
        self,
        services: Sequence[Service],
        receiver: MessageReceiver,
        access: CallAccess | None,
        policy: CallPolicy | None = None,
    ) -> CallInterceptor:
        return CallInterceptor(
            _names(services),
            receiver,
            access,
            policy,
            counters=self.counters,
            tracer=self.tracer,
            identified=self.settings.tls_client_ca_file is not None,
        )

    def _listening(self, interceptor: CallInterceptor, services: Sequence[Service], address: str) -> Server:
        server = grpc.aio.server(interceptors=[interceptor], options=_options(self.settings))
        for service in services:
            service.add_to(server)
        listen(server, address, self.tls)
        return server


def _options(settings: Settings) -> list[tuple[str, Any]]:
    """How connections behave, and what they may send."""
    # gRPC's limit is one for all; that of each service is its own business.
    largest = settings.max_answer_bytes + TRANSPORT_MARGIN
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", largest),
        ("grpc.max_send_message_length", largest),
        ("grpc.http2.lookahead_bytes", _WINDOW),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_concurrent_streams", MAX_WAITING),
        *MAX_METADATA,
        *KEEPALIVE,
        *_connection_age(settings),
    ]


def _names(services: Sequence[Service]) -> frozenset[str]:
    return frozenset(service.name for service in services)


def _connection_age(settings: Settings) -> list[tuple[str, int]]:
    """How long a connection lasts. gRPC adds or takes a tenth itself, so that they do not end together."""
    if not settings.connection_age_seconds:
        return []
    # A message may take the longest time that there is, and so may its answer.
    longest = 2 * settings.max_timeout_seconds + _ANSWER_SECONDS
    return [
        ("grpc.max_connection_age_ms", round(settings.connection_age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", round(longest * 1000)),
    ]
