"""Who may make a request: keys are checked by its head, before anything of its body is read."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from gateway.arrival import Environ, arrival_of
from utils.access import Access


class Need(NamedTuple):
    """What a request needs.

    Attributes:
        scope: Of its key.
        counted: Whether it is to be counted, and not what it brings, item for item.
    """

    scope: str
    counted: bool = True


class RequestAccess:
    """Checks the requests to one application.

    Args:
        access: Checks keys; None where none is needed.
        need_of: What a request needs, by its head; None for no key.
    """

    def __init__(self, access: Access | None, need_of: Callable[[Environ], Need | None]) -> None:
        self._access = access
        self._need_of = need_of

    def admit(self, environ: Environ) -> None:
        """Let a request in, once: its server asks before the application does.

        Raises:
            FacetError: As Access.admit.
        """
        arrival = arrival_of(environ)
        if self._access is None or arrival.admitted:
            return
        need = None if environ["REQUEST_METHOD"] == "OPTIONS" else self._need_of(environ)  # as browsers ask
        if need is not None:
            caller, authorization = arrival.caller, environ.get("HTTP_AUTHORIZATION")
            self._access.admit(caller, authorization, need.scope, counted=need.counted)
            arrival.admit_item = partial(self._access.admit_item, caller)
        arrival.admitted = True


NO_ACCESS = RequestAccess(None, lambda _: None)
"""Of an application that everybody may ask."""
