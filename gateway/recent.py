"""What the backend says of itself, asked for so seldom that any number of callers may want to know it."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from utils.errors import DeadlineExceeded, FacetError

T = TypeVar("T")


class Recent(Generic[T]):
    """The last answer to a question, and who renews it.

    Args:
        ask: Gives the answer, or raises a FacetError, which is then the answer.
        fresh_seconds: How long it is not asked for again.
        patience: Seconds that an answer takes at most.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        ask: Callable[[], T],
        *,
        fresh_seconds: float,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._fresh_seconds = fresh_seconds
        self._patience = patience
        self._clock = clock
        self._asking = threading.Lock()
        self._answer: T | FacetError
        self._fresh_until = -float("inf")

    def get(self) -> T | FacetError:
        """The answer; it is as old as `fresh_seconds`, or by the time of a question older, at most.

        A call while a question is asked gets the answer before it where that has such an age. So while
        many want to know, a backend that does not answer holds one thread and no more; after a pause all
        wait.
        """
        age = self._clock() - self._fresh_until
        if age < 0:
            return self._answer
        if not self._asking.acquire(blocking=False):
            if age < self._patience:
                return self._answer
            if not self._asking.acquire(timeout=self._patience):
                return DeadlineExceeded(f"The backend has not answered within {self._patience:g} s.")
        try:
            if self._clock() >= self._fresh_until:
                self._renew()
            return self._answer
        finally:
            self._asking.release()

    def _renew(self) -> None:
        try:
            self._answer = self._ask()
        except FacetError as error:
            self._answer = error
        self._fresh_until = self._clock() + self._fresh_seconds
