"""A worker's gRPC servers: their services, and what they take from a connection."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import grpc

from inference_server.api.access import CallAccess
from inference_server.api.articles import article_services
from inference_server.api.call_counters import CallCounters
from inference_server.api.health import HealthServicer
from inference_server.api.interceptor import CallInterceptor
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


def build_servers(
    services: Sequence[Service],
    health: HealthServicer,
    settings: Settings,
    address: str,
    models: ModelCaller | None = None,
    *,
    torchserve: tuple[TorchServeService, str] | None = None,
    counters: CallCounters | None = None,
    tls: TlsFiles | None = None,
    tracer: Tracer = NO_TRACER,
) -> tuple[list[Server], MessageReceiver]:
    """Servers that will listen at addresses, which they share with other workers, and what receives for them.

    Args:
        services: Those whose calls are requests for faces: logged, and with room for pictures. Health and
            reflection come beside them.
        health: Tells whether they are served.
        settings: Limits and times.
        address: host:port.
        models: Calls models; with it come the services by which they are called. None: there are none.
        torchserve: TorchServe's service and its host:port, which is a server of its own.
        counters: Count the calls; None where nobody reads them.
        tls: By which both speak TLS; None for not at all.
        tracer: Decides which of the calls are traced.

    Raises:
        RuntimeError: They cannot listen there.
        TlsUnusable: The files of TLS cannot be used.
        OSError: There is no place where requests can be counted.
    """
    counters = counters or CallCounters.unshared()
    of_models = [] if models is None else services_of_models(models, health, settings, counters)
    of_torchserve = [] if torchserve is None else [torchserve[0]]
    # Both servers' messages are received within the limits of one.
    receiver = receiver_of(services, [*of_models, *of_torchserve], settings)
    access = CallAccess(Access.of(settings))
    identified = settings.tls_client_ca_file is not None
    surround = partial(CallInterceptor, counters=counters, tracer=tracer, identified=identified)
    server = _server(
        surround(names_of([*services, *of_models]), receiver, access),
        (*services, *of_models, health),
        settings,
    )
    listen(server, address, tls)
    files = [service.file for service in (*services, *of_models, health) if service.file is not None]
    add_reflection(server, files, models.registry if models is not None else None)
    if torchserve is None:
        return [server], receiver
    # Where it has tokens of its own, those are demanded.
    checked = access if settings.torchserve_key_file is None else None
    interceptor = surround(names_of(of_torchserve), receiver, checked, TorchServePolicy(settings))
    other = _server(interceptor, of_torchserve, settings)
    listen(other, torchserve[1], tls)
    return [server, other], receiver


def _server(interceptor: CallInterceptor, services: Sequence[Service], settings: Settings) -> Server:
    server = grpc.aio.server(interceptors=[interceptor], options=_options(settings))
    for service in services:
        service.add_to(server)
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


def receiver_of(
    services: Sequence[Service], of_models: Sequence[Service], settings: Settings
) -> MessageReceiver:
    """What receives messages for services that take pictures, and for those by which models are called."""
    return MessageReceiver(
        names_of(services),
        settings.max_image_bytes + TRANSPORT_MARGIN,
        settings.max_timeout_seconds,
        models=names_of(of_models),
        largest_for_models=settings.max_request_bytes + TRANSPORT_MARGIN,
    )


def services_of_models(
    models: ModelCaller, health: HealthServicer, settings: Settings, counters: CallCounters
) -> list[Service]:
    """All those by which models are called."""
    protocols = [InferenceProtocolService(models, health, settings, counters.all)] if settings.oip else []
    return [ModelsService(models), TypedService(models), *article_services(models, settings), *protocols]


def names_of(services: Sequence[Service]) -> frozenset[str]:
    """Their full names."""
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
