"""A worker's gRPC server: its services, and what it takes from a connection."""

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from inference_server.dispatch.admission import MAX_WAITING
from inference_server.health import HealthServicer
from inference_server.interceptors import CallInterceptor
from inference_server.messages import MessageReceiver
from inference_server.reflection import add_reflection
from inference_server.servicers import InferenceServicer
from protos import infer_pb2, infer_pb2_grpc
from utils.channel import MAX_METADATA, SERVER_KEEPALIVE, TRANSPORT_MARGIN
from utils.settings import Settings

_WINDOW = 64 * 1024
"""Bytes that a call may send before its message is asked for. gRPC would else raise it to megabytes."""
_ANSWER_SECONDS = 5.0


def build_server(
    inference: InferenceServicer, health: HealthServicer, settings: Settings, address: str
) -> grpc.aio.Server:
    """A server that will listen at an address, which it shares with other workers.

    Raises:
        RuntimeError: It cannot listen there.
    """
    largest = settings.max_image_bytes + TRANSPORT_MARGIN
    receiver = MessageReceiver(largest, settings.max_timeout_seconds)
    server = grpc.aio.server(
        interceptors=[CallInterceptor(receiver)],
        options=[
            ("grpc.so_reuseport", 1),
            ("grpc.max_receive_message_length", largest),
            ("grpc.max_send_message_length", largest),
            ("grpc.http2.lookahead_bytes", _WINDOW),
            ("grpc.http2.bdp_probe", 0),
            ("grpc.max_concurrent_streams", MAX_WAITING),
            *MAX_METADATA,
            *SERVER_KEEPALIVE,
            *_connection_age(settings),
        ],
    )
    infer_pb2_grpc.add_InferenceServicer_to_server(inference, server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    add_reflection(server, [infer_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR])
    server.add_insecure_port(address)
    return server


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
