"""A request's context and its answer as bytes, of any model.

The worker that receives a request writes the context and reads the answer's head; the process that computes
it reads the one and writes the other.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from google.rpc import status_pb2

from utils.errors import FacetError, InvalidInput, shown
from utils.status import decode_error, encode_error

_OK, _ERROR = b"+", b"-"
_HEAD = struct.Struct("=cI")
"""Of an answer: its kind, and how many bytes of JSON with log fields come before its message."""


def pack_context(request_id: str, traceparent: str, parameters: bytes) -> bytes:
    """All of a request but its payload: its names, which have no line ends, and the model's part."""
    return f"{request_id}\n{traceparent}\n".encode() + parameters


def unpack_context(context: bytes) -> tuple[str, str, bytes]:
    """Request id, trace context and the model's part."""
    request_id, traceparent, parameters = context.split(b"\n", 2)
    return request_id.decode(), traceparent.decode(), parameters


def no_operation(model: str, operation: str, operations: Iterable[str]) -> InvalidInput:
    """The error of a request in an encoding that is none of those that its model has."""
    accepted = ", ".join(operations) or "nothing"
    return InvalidInput(
        f"The model {model} cannot be called by {shown(operation)!r}; it can by {accepted}.",
        field="operation",
    )


def pack_answer(message: bytes, log_fields: Mapping[str, object]) -> bytes:
    """A serialized message, and what the log line of its request says of it."""
    fields = orjson.dumps(log_fields)
    return _HEAD.pack(_OK, len(fields)) + fields + message


def pack_error(error: FacetError) -> bytes:
    """An answer that says what went wrong."""
    message: bytes = encode_error(error).SerializeToString()
    return _HEAD.pack(_ERROR, 0) + message


def unpack_answer(answer: bytes) -> tuple[bytes, dict[str, Any]]:
    """The serialized message of an answer, and its log fields.

    Raises:
        FacetError: What went wrong.
    """
    kind, size = _HEAD.unpack_from(answer)
    fields, message = answer[_HEAD.size : _HEAD.size + size], answer[_HEAD.size + size :]
    if kind == _ERROR:
        raise decode_error(status_pb2.Status.FromString(message))
    return message, orjson.loads(fields)
