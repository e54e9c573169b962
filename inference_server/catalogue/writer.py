"""Where the catalogue is changed: what is remembered of it, and what all processes see."""

from typing import Generic

from inference_server.catalogue.desired_state import Desired, DesiredState
from inference_server.catalogue.entries import Catalogue
from inference_server.catalogue.groups import Publisher
from inference_server.catalogue.table import AnyGroup, VersionTable


class CatalogueWriter(Generic[AnyGroup]):
    """The catalogue as the supervisor has it.

    Attributes:
        table: All versions that are served or loaded.
        desired: Of them, those that are to be served by the next backend, too.

    Args:
        state: Remembers what is desired.
        publication: Tells all processes.
    """

    def __init__(self, state: DesiredState, publication: Publisher) -> None:
        self.table: VersionTable[AnyGroup] = VersionTable()
        self.desired = Desired()
        self._state = state
        self._publication = publication

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

    def publish(self) -> None:
        """Have every call that begins from now on see the table as it is."""
        catalogue = Catalogue(
            self._publication.generation + 1, self.table.versions, self.desired.defaults, self.desired.canary
        )
        self._publication.publish(catalogue.to_json())
