"""How a client talks to the backend, written once for the blocking and the asyncio client.

Deadlines, retries and their budget, keep-alive, limits, spreading over several backends, and what an error
on the wire means. Nothing here opens a connection.
"""

import json
from typing import Any

from grpc_health.v1 import health_pb2

from utils import codec
from utils.errors import BackendUnavailable, Code, FacetError
from utils.request_ids import TRACEPARENT

SERVICE = "Inference"
PREDICT = f"/{SERVICE}/Predict"
REQUEST_ID = "x-request-id"
"""The metadata key under which a request's id travels."""
TIMEOUT_IS_DEFAULT = ("x-timeout-source", "default")
"""Metadata of a call whose deadline nobody has asked for: it waits for FACET_QUEUE_SECONDS at most."""

DEFAULT_TIMEOUT = 5.0
"""Seconds that a call has where its client is told nothing."""

MIB = 1024**2
TRANSPORT_MARGIN = MIB
"""Bytes that a message may exceed the image limit by: everything in it that is not the image."""

# gRPC retries while more than half of its tokens are left; a failed attempt takes one, ten good calls
# give one back. A worker that dies takes all calls of its connection with it, so half of the tokens must
# be more than the calls that a busy gateway process has under way, twice over.
_RETRY_TOKENS = 256

_KEEPALIVE_MS = 20_000
SERVER_KEEPALIVE = (
    ("grpc.http2.min_ping_interval_without_data_ms", _KEEPALIVE_MS // 2),
    ("grpc.keepalive_permit_without_calls", 1),
)
"""What a server must be told, or it closes connections that ping as often as our clients do."""

_METADATA_BYTES = 16 * 1024
MAX_METADATA = (
    ("grpc.max_metadata_size", _METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
)
"""Of a call or an answer, for both ends. Between two different limits gRPC would refuse by chance."""

HEALTH_REQUEST = health_pb2.HealthCheckRequest(service=SERVICE)
UNCHECKED = "The backend has not answered a health check in time."


Metadata = tuple[tuple[str, str], ...]


def call_metadata(request_id: str, traceparent: str, *, timeout_named: bool) -> Metadata:
    """The metadata of a call; what is empty is left out."""
    names = tuple(
        (key, value) for key, value in ((REQUEST_ID, request_id), (TRACEPARENT, traceparent)) if value
    )
    return names if timeout_named else (*names, TIMEOUT_IS_DEFAULT)


def error_of(failed: Any) -> FacetError:  # noqa: ANN401 - an RpcError of either client
    """The error of our own tree that a failed call means."""
    code = Code(failed.code().value[0])
    trailing = dict(failed.trailing_metadata() or ())
    return codec.decode_error(codec.status_of(code, failed.details() or "", trailing))


def require_serving(reply: Any) -> None:  # noqa: ANN401 - health_pb2.HealthCheckResponse
    """Raise BackendUnavailable unless a health check says that the backend serves."""
    if reply.status != health_pb2.HealthCheckResponse.SERVING:
        raise BackendUnavailable(
            "The backend is not serving: it is starting, or about to stop.", retry_after=codec.RETRY_SECONDS
        )


def channel_options(max_image_bytes: int) -> list[tuple[str, Any]]:
    """How a channel to the backend behaves: retries, reconnection, limits.

    Retries are gRPC's own. A call that met UNAVAILABLE, or CANCELLED by a server that stops, is sent
    again up to 4 times within its deadline; the throttle stops that when more than half of the recent
    calls fail, so that an outage is not made worse. gRPC silently gives up retrying a request that is
    larger than its replay buffer, 256 KiB unless told otherwise.

    A target with several addresses (DNS, or a list) has a connection to each, and calls take turns. The
    client fails at once while no address can be reached, and finds out within a second when one can.
    """
    service_config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": _RETRY_TOKENS, "tokenRatio": 0.1},
    }
    return [
        ("grpc.service_config", json.dumps(service_config)),
        ("grpc.per_rpc_retry_buffer_size", max_image_bytes + 2 * TRANSPORT_MARGIN),
        ("grpc.max_send_message_length", max_image_bytes + TRANSPORT_MARGIN),
        ("grpc.max_receive_message_length", max_image_bytes + TRANSPORT_MARGIN),
        *MAX_METADATA,
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # A connection whose other end vanished without a word is found out within half a minute.
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", 5_000),
        # The backend is inside; a proxy variable of the environment is meant for the outside.
        ("grpc.enable_http_proxy", 0),
    ]
