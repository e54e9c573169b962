"""The versions that the supervisor serves or loads, with their processes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from inference_server.catalogue.commands import Answer
from inference_server.catalogue.contents import Contents
from inference_server.catalogue.desired_state import Desired
from inference_server.catalogue.entries import ModelVersion
from inference_server.catalogue.groups import ModelGroup
from inference_server.catalogue.model_settings import MOST_PROCESSES
from utils.errors import ModelNotFound, TooManyModels, shown

QUEUES: Final = 32
"""How many queues there are beside that of face detection."""

_PLACES: Final = MOST_PROCESSES - 1
"""One place stays free, so that a process can be replaced by one that is ready."""

Reply = Callable[[Answer], None]
"""Takes the answer of a command, once."""

AnyGroup = TypeVar("AnyGroup", bound=ModelGroup)


@dataclass(frozen=True, slots=True)
class Renewal:
    """A version, and what it is loaded from.

    Attributes:
        version: With the source and the settings that this has.
        contents: What the store had; None where that is not known.
    """

    version: ModelVersion
    contents: Contents | None


@dataclass(frozen=True, slots=True)
class Pending:
    """A change that is made when the version has been loaded.

    Attributes:
        before: What the version was before, and is again if it cannot be loaded; None where it is new.
        replies: Who waits for it.
        reload: What it is loaded from anew; None where that is what it was.
    """

    before: ModelVersion | None
    replies: list[Reply] = field(default_factory=list)
    reload: Renewal | None = None

    def answer(self, answer: Answer) -> None:
        """Tell all that wait."""
        for reply in self.replies:
            reply(answer)


@dataclass(slots=True, eq=False)
class Entry(Generic[AnyGroup]):
    """A version in the table.

    Attributes:
        version: As it is published.
        group: Its processes; None for face detection, which has none of its own.
        pending: What waits for it to be loaded, or to be reloaded while it is READY.
        contents: What the store had when it was loaded; None where that is not known.
        new_card: What a later process has said, where it is not what is published.
    """

    version: ModelVersion
    group: AnyGroup | None = None
    pending: Pending | None = None
    new_card: Mapping[str, Any] | None = None
    contents: Contents | None = None


class VersionTable(Generic[AnyGroup]):
    """All of them, in the order in which they came."""

    def __init__(self) -> None:
        self._entries: list[Entry[AnyGroup]] = []

    def __iter__(self) -> Iterator[Entry[AnyGroup]]:
        """Each of them."""
        return iter(tuple(self._entries))

    def __contains__(self, entry: Entry[AnyGroup]) -> bool:
        """Whether it is still there."""
        return entry in self._entries

    def add(self, entry: Entry[AnyGroup]) -> None:
        """Add one."""
        self._entries.append(entry)

    def remove(self, entry: Entry[AnyGroup]) -> None:
        """Remove one."""
        self._entries.remove(entry)

    @property
    def versions(self) -> tuple[ModelVersion, ...]:
        """The versions themselves."""
        return tuple(entry.version for entry in self._entries)

    def of(self, name: str) -> list[Entry[AnyGroup]]:
        """All versions of a name.

        Raises:
            ModelNotFound: There are none.
        """
        found = [entry for entry in self._entries if entry.version.name == name]
        if not found:
            raise ModelNotFound(f"There is no model {shown(name)!r}", field="name")
        return found

    def find(self, name: str, version: str, desired: Desired) -> Entry[AnyGroup]:
        """A version; without a number the default one, or the only one there is.

        Raises:
            ModelNotFound: There is no such version.
        """
        found = self.of(name)
        wanted = version or desired.defaults.get(name, found[0].version.version)
        for entry in found:
            if entry.version.version == wanted:
                return entry
        raise ModelNotFound(f"The model {name} has no version {shown(wanted)!r}", field="version")

    def free_queue(self, leaving: Iterable[ModelVersion]) -> int:
        """The lowest number of a queue that nobody has.

        Args:
            leaving: Versions that are no longer here, but keep their queues.

        Raises:
            TooManyModels: There is none.
        """
        taken = {version.queue for version in (*self.versions, *leaving)}
        for queue in range(1, QUEUES + 1):
            if queue not in taken:
                return queue
        raise TooManyModels(f"There are {QUEUES} versions of models; accepted: at most {QUEUES} at once")

    def check_processes(self, more: int, leaving: int) -> None:
        """Refuse more processes than there are places for.

        Args:
            more: How many are to come.
            leaving: How many there are of versions that are no longer here.

        Raises:
            TooManyModels: There is no room for them.
        """
        there = sum(entry.version.workers for entry in self._entries if entry.group is not None) + leaving
        if more > 0 and there + more > _PLACES:
            raise TooManyModels(
                f"There are {there} processes of models, and {more} more were asked for; accepted: at most "
                f"{_PLACES} at once"
            )
