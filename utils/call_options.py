"""What the calls of a client have beside their messages: time, names, and the client's key."""

import os
import re
from collections.abc import Callable
from typing import Any, TypedDict

from utils.channel import DEFAULT_TIMEOUT
from utils.metadata import bearer, call_metadata
from utils.settings import CLIENT_KEY


class CallOptions(TypedDict, total=False):
    """What the methods of a client take by keyword.

    Attributes:
        timeout: Seconds until the call is given up, retries included. Who names a time, here or for the
            whole client, may wait in the backend's queue for as long as that lets it; who names none
            waits for FACET_QUEUE_SECONDS at most.
        timeout_named: False where `timeout` is a default that no caller has asked for.
        request_id: Names the request in the backend's log.
        traceparent: Its place in a distributed trace, by W3C Trace Context.
        tracestate: What tracing systems have added to that.
        caller: The name of the key of whom a gateway calls for; believed where its own has the scope gateway.
    """

    timeout: float | None
    timeout_named: bool
    request_id: str
    traceparent: str
    tracestate: str
    caller: str


Key = str | Callable[[], str]
"""A client's key, or what gives it at each call, because it may change; empty where it has none."""


class CallDefaults:
    """What a client's calls have where they are not told otherwise.

    Args:
        timeout: Seconds that a call has. None: 5, which count as a default.
        key: The client's. None: what FACET_API_KEY of the environment has.

    Raises:
        ValueError: The key cannot be one.
    """

    def __init__(self, timeout: float | None, key: Key | None = None) -> None:
        self._timeout = DEFAULT_TIMEOUT if timeout is None else timeout
        self._timeout_named = timeout is not None
        if key is None:
            key = os.environ.get(CLIENT_KEY, "").strip()
        if isinstance(key, str) and not re.fullmatch(r"[\x21-\x7e]*", key):
            raise ValueError("the key has other characters than visible ASCII")
        self._key = key

    def arguments(
        self,
        *,
        timeout: float | None = None,
        timeout_named: bool = True,
        request_id: str = "",
        traceparent: str = "",
        tracestate: str = "",
        caller: str = "",
    ) -> dict[str, Any]:
        """What gRPC is called with beside the message; arguments as of CallOptions."""
        named = timeout_named and (timeout is not None or self._timeout_named)
        metadata = call_metadata(request_id, traceparent, tracestate, caller, timeout_named=named)
        key = self._key() if callable(self._key) else self._key
        return {
            "timeout": self._timeout if timeout is None else timeout,
            "metadata": (*metadata, bearer(key)) if key else metadata,
        }
