"""What travels beside the message of a call: request id, trace context, and where its time comes from."""

import re
import secrets

from utils.errors import InvalidInput, shown

REQUEST_ID = "x-request-id"
"""The metadata key of a request's id, which names it in every log line."""
TRACEPARENT = "traceparent"
"""The metadata key, and HTTP header, of the trace context."""
TRACESTATE = "tracestate"
"""The same, of what tracing systems add to it."""
AUTHORIZATION = "authorization"
"""The metadata key of a caller's key: `Bearer` and its secret."""
CALLER = "x-facet-caller"
"""The metadata key of whom a gateway calls for: the name of a key; nobody else than gateways is believed."""
MODEL_VERSION = "x-model-version"
"""The metadata key of the version that a model's own method is to be answered by."""
TIMEOUT_IS_DEFAULT = ("x-timeout-source", "default")
"""Metadata of a call whose deadline nobody has asked for: it waits for FACET_QUEUE_SECONDS at most."""

_METADATA_BYTES = 16 * 1024
MAX_METADATA = (
    ("grpc.max_metadata_size", _METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
)
"""Of a call or an answer, for both ends. Between two different limits gRPC would refuse by chance."""

Metadata = tuple[tuple[str, str], ...]

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")
_ACCEPTED = re.compile(r"[\x21-\x7e]{1,128}")


def request_id(candidate: str | None) -> str:
    """The caller's own id where it is 1 to 128 visible ASCII characters, else a fresh one."""
    if candidate is not None and _ACCEPTED.fullmatch(candidate):
        return candidate
    return secrets.token_hex(16)


def trace_context(candidate: str | None) -> str:
    """The caller's `traceparent` where it is one by W3C Trace Context, level 1; else an empty string.

    Where no spans are made it is carried along and logged as it came. One that is not valid is ignored, as
    the specification demands.
    """
    if candidate is None or not _TRACEPARENT.fullmatch(candidate):
        return ""
    _, trace, span, _ = candidate.split("-")
    return candidate if trace.strip("0") and span.strip("0") else ""


def trace_state(candidate: str | None) -> str:
    """The `tracestate` that came with a trace context, to be carried along; empty where it cannot be.

    Longer ones than the 512 characters that everybody has to carry are dropped.
    """
    return candidate if candidate is not None and _TRACESTATE.fullmatch(candidate) else ""


def seconds_of(timeout: object) -> float:
    """The seconds of a `timeout` in microseconds, as requests of the Open Inference Protocol have it.

    Raises:
        InvalidInput: It is no whole number, or below 0.
    """
    if type(timeout) is not int or timeout < 0:
        raise InvalidInput(
            f"timeout is {shown(str(timeout))}; accepted: a whole number of microseconds", field="timeout"
        )
    return timeout / 1e6


def bearer(key: str) -> tuple[str, str]:
    """The metadata by which a caller shows its key."""
    return AUTHORIZATION, f"Bearer {key}"


def call_metadata(
    request_id: str, traceparent: str, tracestate: str = "", caller: str = "", *, timeout_named: bool
) -> Metadata:
    """The metadata of a call; what is empty is left out."""
    told = ((REQUEST_ID, request_id), (TRACEPARENT, traceparent), (TRACESTATE, tracestate), (CALLER, caller))
    names = tuple((key, value) for key, value in told if value)
    return names if timeout_named else (*names, TIMEOUT_IS_DEFAULT)
