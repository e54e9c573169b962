"""What the store has of a version at one time, by which a later change of it is found."""

import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Self

from inference_server.catalogue.entries import ModelVersion, Source
from inference_server.catalogue.model_settings import ModelSettings
from inference_server.catalogue.store import Store
from utils.errors import FacetError, InvalidModel

_OF_PACKAGES: Final = ("python", "entry_point")
"""Kinds whose code is in an installed package, so that the folder does not say whether it is another."""

_SCALED: Final = ("min_workers", "max_workers")
"""Settings that operators change by scaling alone."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a version would be loaded from.

    Attributes:
        source: What its model.toml says.
        settings: The same, without what an operator has decided.
        files: The regular files of its folder, each with its path, size and time of change in nanoseconds;
            none where its processes may have read different ones.
    """

    source: Source
    settings: ModelSettings
    files: tuple[tuple[str, int, int], ...]

    @classmethod
    def read(cls, store: Store, version: ModelVersion) -> Self:
        """Look at what there is now.

        Raises:
            InvalidModel: It is no valid model, or its folder cannot be read.
            ModelNotFound: There is nothing of it any more.
        """
        found = store.resolve(version.url, version.version)
        try:
            files = tuple(sorted(_files(found.source.folder)))
        except OSError as error:
            raise InvalidModel(
                f"The folder of {version.key} cannot be read: {error.strerror}", field="url"
            ) from error
        return cls(found.source, found.settings, files)

    def is_that_of(self, other: Self | None) -> bool:
        """Whether a version that was loaded from the other one serves what this says."""
        return self == other and self.source.kind not in _OF_PACKAGES

    def without_files(self) -> Self:
        """The same, of which no files are known."""
        return replace(self, files=())

    def applied(self, version: ModelVersion, before: Self | None) -> ModelVersion:
        """A version as it is to be loaded from this.

        Args:
            version: As it is.
            before: What it was loaded from: settings that differ from those are an operator's, and stay.

        Raises:
            InvalidModel: The settings cannot be together.
        """
        own = {
            name: value
            for name, value in asdict(version.settings).items()
            if name in _SCALED or before is None or value != getattr(before.settings, name)
        }
        return replace(version, source=self.source, settings=self.settings.with_changes(own))


def known_contents(store: Store, version: ModelVersion) -> Contents | None:
    """What there is now; None where it cannot be read, which whoever loads or reloads the version is told."""
    try:
        return Contents.read(store, version)
    except FacetError:
        return None


def _files(folder: Path | None) -> Iterator[tuple[str, int, int]]:
    if folder is None:
        return
    for place, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            path = Path(place, name)
            try:
                found = path.stat()
            except FileNotFoundError:  # it was removed just now, or is a link to nothing
                continue
            if stat.S_ISREG(found.st_mode):
                yield str(path.relative_to(folder)), found.st_size, found.st_mtime_ns


def _raise(error: OSError) -> None:
    raise error
