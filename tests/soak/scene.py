"""What an event is, and what it has around it."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.soak.load import Tally, Traffic
from tests.soak.photos import Photo
from tests.soak.stage import Stage

ONCE = ("model, once", "TorchServe, once", "OIP, once", "KServe, once")
"""The endpoints of the clients that never try again, which are there during events of models alone; those of
kserve only where its package is."""
REVOKED = ("revoked key, HTTP", "revoked key, gRPC")
"""The endpoints of clients whose key is revoked while they ask."""


@dataclass
class Scene:
    """An event's surroundings: who answers, who asks, and where the event's requests are counted."""

    stage: Stage
    traffic: Traffic
    photo: Photo
    tallies: dict[str, Tally]


@dataclass(frozen=True)
class Event:
    """Something that happens.

    Attributes:
        refuses: Callers may be told to come again, because too much is waiting.
        goes: Callers may be told to come again, because there is no backend.
        leaves: Workers leave: gRPC's server ends some of the calls that come at that very moment, which only
            a client that never tries again gets to see.
    """

    name: str
    happen: Callable[[Scene], None]
    refuses: bool = False
    goes: bool = False
    leaves: bool = False
