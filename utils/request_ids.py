"""What names a request in every log line about it: its id, and its place in a distributed trace."""

import re
import secrets

TRACEPARENT = "traceparent"
"""The HTTP header, and metadata key of gRPC, of the trace context."""

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_ACCEPTED = re.compile(r"[\x21-\x7e]{1,128}")


def request_id(wish: str | None) -> str:
    """The caller's own id where it is 1 to 128 visible ASCII characters, else a fresh one."""
    if wish is not None and _ACCEPTED.fullmatch(wish):
        return wish
    return secrets.token_hex(16)


def trace_context(wish: str | None) -> str:
    """The caller's `traceparent` where it is one by W3C Trace Context, level 1; else an empty string.

    It is carried along and logged as it came, which is what a participant that makes no spans of its own
    does. One that is not valid is ignored, as the specification demands.
    """
    if wish is None or not _TRACEPARENT.fullmatch(wish):
        return ""
    _, trace, span, _ = wish.split("-")
    return wish if trace.strip("0") and span.strip("0") else ""
