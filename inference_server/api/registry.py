"""What models there are now: the catalogue that the supervisor has published last."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from inference_server.catalogue.entries import Catalogue, ModelVersion
from inference_server.catalogue.names import identifier
from inference_server.dispatch.publication import Publication
from inference_server.models.face_detection import FaceDetection
from utils.errors import ModelNotFound, shown


class _Snapshot(NamedTuple):
    """What was published as one generation."""

    generation: int
    catalogue: Catalogue
    names: Mapping[str, str]
    """Of the models, by their identifiers."""


class ModelRegistry:
    """The models by name, identifier and version, as of this moment.

    Each look at it compares one word of shared memory, and reads what is published where that has changed.
    So a call that begins after a change was published sees it.

    Args:
        publication: Of the catalogue.
        face_card: The card of face detection by the name that it is listed as; no process loads it to tell.
    """

    def __init__(self, publication: Publication, face_card: Callable[[str], Mapping[str, Any]]) -> None:
        self._publication = publication
        self._face_card = face_card
        self._snapshot = _Snapshot(-1, Catalogue(), {})

    @property
    def generation(self) -> int:
        """The number of what is published; it differs whenever the models have changed."""
        return self._publication.generation

    def current(self) -> Catalogue:
        """All models."""
        return self._look().catalogue

    @property
    def is_settled(self) -> bool:
        """Whether each version that is served from the start on serves, is idle or has failed."""
        return self.current().is_settled

    def find(self, name: str, version: str = "", request_id: str = "") -> ModelVersion:
        """The version that is to serve a call, as Catalogue.find chooses and refuses it."""
        return self.current().find(name, self.meant(name, version), request_id)

    def meant(self, name: str, version: str) -> str:
        """The version that a caller means: 1 is also 1.0, where there is no 1."""
        if not version:
            return version
        versions = {one.version for one in self.current().of(name)}
        return f"{version}.0" if version not in versions and f"{version}.0" in versions else version

    def name_of(self, identifier: str) -> str:
        """The name of the model that has this identifier in its messages and methods.

        Raises:
            ModelNotFound: There is none.
        """
        name = self._look().names.get(identifier)
        if name is None:
            raise ModelNotFound(f"There is no model whose methods begin with {shown(identifier)!r}")
        return name

    def describe(self, name: str, version: str = "") -> ModelVersion:
        """A version in whatever state; without one named the default, or where there is none, the highest.

        Raises:
            ModelNotFound: There is no such model, or no such version of it.
        """
        catalogue = self.current()
        versions = {one.version: one for one in catalogue.of(name)}
        if not versions:
            raise ModelNotFound(f"There is no model {shown(name)!r}", field="name")
        chosen = self.meant(name, version) or catalogue.defaults.get(name) or [*versions][-1]
        if chosen not in versions:
            raise ModelNotFound(f"The model {name} has no version {shown(chosen)!r}", field="version")
        return versions[chosen]

    def defaults(self) -> list[ModelVersion]:
        """The default version of each model that has one, by name."""
        catalogue = self.current()
        return [self.describe(name) for name in catalogue.names() if name in catalogue.defaults]

    def _look(self) -> _Snapshot:
        if self._publication.generation != self._snapshot.generation:
            generation, content = self._publication.read()
            catalogue = self._with_face_card(Catalogue.from_json(content))
            names = {identifier(name): name for name in catalogue.names()}
            self._snapshot = _Snapshot(generation, catalogue, names)
        return self._snapshot

    def _with_face_card(self, catalogue: Catalogue) -> Catalogue:
        versions = tuple(
            replace(one, card=self._face_card(one.name)) if one.queue == FaceDetection.queue else one
            for one in catalogue.versions
        )
        return replace(catalogue, versions=versions)
