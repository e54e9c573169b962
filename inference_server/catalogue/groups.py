"""What the manager needs of the processes of a version, and what it is told of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from utils.errors import FacetError


class Process(Protocol):
    """A process of a version."""

    def describe(self) -> Mapping[str, Any]:
        """What operators are told of it."""

    @property
    def card(self) -> Mapping[str, Any] | None:
        """What it says of the version; None until it is ready."""


class ModelGroup(Protocol):
    """The processes of a version. Those that crash, hang or cannot load are replaced, with growing delays."""

    @property
    def ready_count(self) -> int:
        """How many serve."""

    @property
    def is_empty(self) -> bool:
        """Whether no process lives."""

    @property
    def processes(self) -> Sequence[Process]:
        """All that live."""

    def scale(self, wanted: int, /) -> None:
        """Have so many from now on."""

    @property
    def is_exchanged(self) -> bool:
        """Whether as many serve as shall, and none is left of before its last exchange."""

    def keep_exchange(self) -> None:
        """Go on with the processes that an exchange has brought."""

    def undo_exchange(self) -> None:
        """End those processes, and go on with those of before, unless the exchange was kept."""

    def retire(self) -> None:
        """Have all of them finish what they do and end, and start no other."""

    def forget_poison(self) -> None:
        """Have inputs that have ended some of them refused no longer."""


@dataclass(frozen=True, slots=True)
class GroupCallbacks:
    """Whom a group tells what. None is called before the function that starts the group has returned.

    Attributes:
        on_ready: A process serves; with its card, which keeps what the published one of its version says.
        on_cannot_start: A process could not be started, and another will be tried; with the reason: an
            InvalidModel, which no other process would escape, or a ModelLoadFailed.
    """

    on_ready: Callable[[Mapping[str, Any]], None]
    on_cannot_start: Callable[[FacetError], None]


class Publisher(Protocol):
    """Tells all processes of a new catalogue (`dispatch/publication.py`)."""

    @property
    def generation(self) -> int:
        """Of what was published last; 0 where nothing was."""

    def publish(self, content: bytes, /) -> int:
        """Publish this as the next generation, and give that."""
