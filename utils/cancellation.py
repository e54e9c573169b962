"""Calls of the blocking client that another thread may give up."""

import threading
from collections.abc import Callable
from typing import Any

import grpc

from utils.errors import Cancelled


class Cancellation:
    """Gives up one call of a ServiceClient from another thread, at any time before, during or after it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requested = False
        self._call: Any = None

    def cancel(self) -> None:
        """Give the call up; nothing happens where it has ended."""
        with self._lock:
            self._requested = True
            if self._call is not None:
                self._call.cancel()

    def of(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """A method whose answer is a stream of one, as one that blocks until the answer or a `cancel`."""

        def blocking(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - a stub's
            with self._lock:
                self._call = method(*args, **kwargs)
                if self._requested:
                    self._call.cancel()
            try:
                [reply] = self._call
            except grpc.RpcError as error:
                if self._requested:
                    raise Cancelled("The caller went away.") from error
                raise
            return reply

        return blocking
