"""Where the catalogue is changed: what is remembered of it, and what all processes see."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic

from inference_server.catalogue.description import describe
from inference_server.catalogue.desired_state import Desired, DesiredState
from inference_server.catalogue.entries import Catalogue, ModelVersion
from inference_server.catalogue.groups import Publisher
from inference_server.catalogue.registration import check_beside
from inference_server.catalogue.table import AnyGroup, Entry, VersionTable


class CatalogueWriter(Generic[AnyGroup]):
    """The catalogue as the supervisor has it.

    Attributes:
        table: All versions that are served or loaded.
        desired: Of them, those that are to be served by the next backend, too.

    Args:
        state: Remembers what is desired.
        publication: Tells all processes.
        waiting: How many requests wait in a queue.
    """

    def __init__(self, state: DesiredState, publication: Publisher, waiting: Callable[[int], int]) -> None:
        self.table: VersionTable[AnyGroup] = VersionTable()
        self.desired = Desired()
        self._state = state
        self._publication = publication
        self._waiting = waiting

    def check_writable(self) -> None:
        """Refuse a change that could not be saved.

        Raises:
            StateNotWritable: With the reason.
        """
        self._state.check_writable()

    def save(self, desired: Desired) -> None:
        """Have something else desired, whatever happens from now on.

        Raises:
            StateNotWritable: What was desired before still is.
        """
        self._state.save(desired)
        self.desired = desired

    def check_others(self, version: ModelVersion, key: str) -> None:
        """Refuse a version that cannot be there together with those of the table, but for that of this key.

        Raises:
            InvalidModel, ModelExists: As `check_beside`.
        """
        for other in self.table.versions:
            if other.key != key:
                check_beside(version, other)

    def described(self, entry: Entry[AnyGroup], *, with_card: bool = False) -> dict[str, Any]:
        """A version as it is now, as operators are told of it."""
        return describe(entry, self.desired, self._waiting(entry.version.queue), with_card=with_card)

    def tell(self, entry: Entry[AnyGroup], failure: str) -> None:
        """Have operators told why a version that serves is not all that it should be; empty where it is."""
        if entry.version.failure != failure:
            entry.version = replace(entry.version, failure=failure)
            self.publish()

    def publish(self) -> None:
        """Have every call that begins from now on see the table as it is."""
        catalogue = Catalogue(
            self._publication.generation + 1, self.table.versions, self.desired.defaults, self.desired.canary
        )
        self._publication.publish(catalogue.to_json())
