"""How a client talks to the backend, written once for the blocking and the asyncio client.

Deadlines, retries and their budget, keep-alive, limits, spreading over several backends, and what an error
on the wire means. Nothing here opens a connection.
"""

import json
import random
import threading
from typing import Any

from grpc_health.v1 import health_pb2

from utils.codec import TRANSPORT_MARGIN
from utils.errors import BackendUnavailable, Code, FacetError
from utils.metadata import MAX_METADATA
from utils.status import RETRY_SECONDS, UNANSWERED, decode_error, status_of

SERVICE = "Inference"
PREDICT = f"/{SERVICE}/Predict"
PREDICT_STREAM = f"{PREDICT}Stream"

DEFAULT_TIMEOUT = 5.0
"""Seconds that a call has where its client is told nothing."""

MIB = 1024**2

# gRPC retries while more than half of its tokens are left; a failed attempt takes one, ten good calls
# give one back. A worker that dies takes all calls of its connection with it, so half of the tokens must
# be more than the calls that a busy gateway process has under way, twice over.
_RETRY_TOKENS = 256
_TOKEN_RATIO = 0.1

MOST_ATTEMPTS = 5
_FIRST_BACKOFF_SECONDS = 0.05
_LONGEST_BACKOFF_SECONDS = 1.0
_BACKOFF_SPREAD = 0.2

_KEEPALIVE_MS = 20_000


def error_of(failed: Any, unanswered: str = UNANSWERED) -> FacetError:  # noqa: ANN401 - an RpcError
    """The error of our own tree that a failed call of either client means; arguments as of decode_error."""
    code = Code(failed.code().value[0])
    trailing = dict(failed.trailing_metadata() or ())
    return decode_error(status_of(code, failed.details() or "", trailing), unanswered)


def require_serving(reply: Any) -> None:  # noqa: ANN401 - health_pb2.HealthCheckResponse
    """Raise BackendUnavailable unless a health check says that the backend serves."""
    if reply.status != health_pb2.HealthCheckResponse.SERVING:
        raise BackendUnavailable(
            "The backend is not serving: it is starting, or about to stop.", retry_after=RETRY_SECONDS
        )


def channel_options(most_bytes: int) -> list[tuple[str, Any]]:
    """How a channel to the backend behaves: retries, reconnection, limits.

    Retries are gRPC's own. A call that met UNAVAILABLE, or CANCELLED by a server that stops, is sent
    again up to 4 times within its deadline; the throttle stops that when more than half of the recent
    calls fail, so that an outage is not made worse. Streams of pictures are excepted: only who reads their
    answers knows what is to be sent again. gRPC silently gives up retrying a request that is
    larger than its replay buffer, 256 KiB unless told otherwise.

    A target with several addresses (DNS, or a list) has a connection to each, and calls take turns. The
    client fails at once while no address can be reached, and finds out within a second when one can.

    Args:
        most_bytes: Of the largest picture, or input of a model, that is to be sent.
    """
    service_config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {"name": [{"service": SERVICE, "method": "PredictStream"}]},
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": MOST_ATTEMPTS,
                    "initialBackoff": f"{_FIRST_BACKOFF_SECONDS}s",
                    "maxBackoff": f"{_LONGEST_BACKOFF_SECONDS}s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            },
        ],
        "retryThrottling": {"maxTokens": _RETRY_TOKENS, "tokenRatio": _TOKEN_RATIO},
    }
    return [
        ("grpc.service_config", json.dumps(service_config)),
        ("grpc.per_rpc_retry_buffer_size", most_bytes + 2 * TRANSPORT_MARGIN),
        ("grpc.max_send_message_length", most_bytes + TRANSPORT_MARGIN),
        ("grpc.max_receive_message_length", most_bytes + TRANSPORT_MARGIN),
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


def backoff(failures: int) -> float:
    """Seconds until the next attempt after so many failures in a row, 1 at least, by the channel's policy."""
    seconds = min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 30), _LONGEST_BACKOFF_SECONDS)
    return seconds * random.uniform(1 - _BACKOFF_SPREAD, 1 + _BACKOFF_SPREAD)  # noqa: S311 - no secret


class RetryBudget:
    """The channel's throttle of retries, for what is sent again within streams, which gRPC does not count.

    Thread-safe; one for each client.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens = float(_RETRY_TOKENS)

    def succeeded(self) -> None:
        """Count an attempt that was answered."""
        with self._lock:
            self._tokens = min(self._tokens + _TOKEN_RATIO, _RETRY_TOKENS)

    def failed(self) -> bool:
        """Count an attempt that failed; gives whether there may be another one."""
        with self._lock:
            self._tokens = max(self._tokens - 1, 0)
            return self._tokens > _RETRY_TOKENS / 2
