"""What is to be served: the part of the catalogue that is remembered, and whoever remembers it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

from inference_server.catalogue.entries import ModelVersion


@dataclass(frozen=True, slots=True)
class Desired:
    """What is to be served.

    Attributes:
        versions: With their cards; what they do at the moment is not remembered.
        defaults: For each name the default version.
        canary: For a name, percents by version.
    """

    versions: tuple[ModelVersion, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    canary: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def with_version(self, version: ModelVersion, before: ModelVersion | None = None) -> Self:
        """With a version in the place of what it was before; the first of a name becomes its default."""
        old = version if before is None else before
        versions = [version if one.key == old.key else one for one in self.versions]
        if version not in versions:
            versions.append(version)
        defaults = dict(self.defaults)
        if version.version:
            defaults.setdefault(version.name, version.version)
        return replace(self, versions=tuple(versions), defaults=defaults)

    def without(self, version: ModelVersion) -> Self:
        """Without a version, which is no default while there are others; its canary weight goes, too."""
        versions = tuple(one for one in self.versions if one.key != version.key)
        defaults = {name: one for name, one in self.defaults.items() if (name, one) != _place(version)}
        canary = {
            name: {one: weight for one, weight in weights.items() if (name, one) != _place(version)}
            for name, weights in self.canary.items()
        }
        return replace(self, versions=versions, defaults=defaults, canary=_without_empty(canary))

    def with_default(self, name: str, version: str) -> Self:
        """With another default version of a name."""
        return replace(self, defaults={**self.defaults, name: version})

    def with_canary(self, name: str, weights: Mapping[str, int]) -> Self:
        """With other weights of a name; none for no canary."""
        weights = {version: weight for version, weight in weights.items() if weight}
        return replace(self, canary=_without_empty({**self.canary, name: weights}))


def _place(version: ModelVersion) -> tuple[str, str]:
    return version.name, version.version


def _without_empty(canary: Mapping[str, Mapping[str, int]]) -> Mapping[str, Mapping[str, int]]:
    return {name: weights for name, weights in canary.items() if weights}


class DesiredState(Protocol):
    """Where it is remembered."""

    def check_writable(self) -> None:
        """Refuse a change that `save` would refuse.

        Raises:
            StateNotWritable: With the reason.
        """

    def save(self, desired: Desired) -> None:
        """Remember this, whatever happens from now on.

        Raises:
            StateNotWritable: What was remembered before still is.
        """


class Unsaved:
    """Changes that last until the backend ends."""

    def check_writable(self) -> None:
        """Refuse none."""

    def save(self, desired: Desired) -> None:
        """Remember nothing."""
