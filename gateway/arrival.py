"""What the HTTP server and the application tell each other of a request, beside its WSGI environment."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.counters import HttpCounters
from utils.access import Caller
from utils.errors import FacetError
from utils.tracing import NO_TRACER, Tracer

_KEY = "facet.arrival"

Environ = dict[str, Any]
"""A WSGI environment (PEP 3333)."""


@dataclass(frozen=True, slots=True)
class BodyRule:
    """How much of a request's body is accepted, and for how long it is waited for.

    Attributes:
        limit: Bytes.
        too_large: The error for a body that has more; is told how many, in words.
        seconds: For all of it, counted from the end of the head.
        late: The error for a body that takes longer.
        piped: Whether the application reads it while it arrives, and closes it where it wants no more; else
            it is called when all is there.
    """

    limit: int
    too_large: Callable[[str], FacetError]
    seconds: float
    late: Callable[[], FacetError]
    piped: bool = False


BodyRules = Callable[[Environ], BodyRule | None]
"""The rule for a request's body by its head; None where the application wants no body.

It may raise the FacetError that the request is to be answered with.
"""


class Client:
    """Who waits for the answer.

    Attributes:
        left: Whether it has closed the connection, or its sending side.
    """

    left = False

    def on_disconnect(self, callback: Callable[[], object] | None) -> None:
        """Have this alone called, on the event loop, when it leaves, and now where it has."""


@dataclass(slots=True)
class Arrival:
    """What the server knows of a request. Times are of `time.monotonic`.

    Attributes:
        client: Who waits for the answer.
        head_ended: When the last byte of its head was read.
        body_ended: When the last byte of its body was read.
        stopping: Whether the whole gateway, not this process alone, is about to stop.
        counters: Count its answer; None where nobody counts.
        tracer: Decides whether it is traced.
        caller: Who makes it, as far as is known.
        admitted: Whether it was let in: it has the key that it needs.
        admit_item: Lets one more of the items in that it brings; raises what that one is refused with.
    """

    client: Client = field(default_factory=Client)
    head_ended: float = field(default_factory=time.monotonic)
    body_ended: float = field(default_factory=time.monotonic)
    stopping: bool = False
    counters: HttpCounters | None = None
    tracer: Tracer = NO_TRACER
    caller: Caller = field(default_factory=Caller)
    admitted: bool = False
    admit_item: Callable[[], None] = lambda: None

    def add_to(self, environ: Environ) -> None:
        """Hand it to the application."""
        environ[_KEY] = self


def arrival_of(environ: Environ) -> Arrival:
    """The arrival of a request; one of this moment where another server or a test made the environment."""
    arrival: Arrival = environ.setdefault(_KEY, Arrival())
    return arrival
