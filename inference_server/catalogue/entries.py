"""A version of a model as the catalogue has it, and the catalogue: what all processes know of the models.

All of it is immutable, and JSON between processes and on disk.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, Final, Self
from zlib import crc32

from inference_server.catalogue.model_settings import ModelSettings
from inference_server.catalogue.names import version_key
from utils.errors import ModelNotFound, ModelNotReady, shown

__all__ = ["KINDS", "Catalogue", "ModelSettings", "ModelVersion", "Source", "State"]

KINDS: Final = (
    "face_detection",
    "echo",
    "onnx",
    "image_classification",
    "per_face",
    "expression",
    "python",
    "entry_point",
)
"""What a model can be made of."""


class State(Enum):
    """What a version of a model does.

    LOADING: its first process is on its way. READY: it is served; where all its processes have crashed, its
    requests wait for the next one. IDLE: it has no process, until it is scaled. FAILED: it could not be
    loaded, and is tried again.
    """

    LOADING = "loading"
    READY = "ready"
    IDLE = "idle"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Source:
    """What a version is made of.

    Attributes:
        kind: One of KINDS.
        folder: The version's folder in the store, absolute; None for what has none.
        options: The keys of the kind, as model.toml has them; `{"entry_point": name}` for an entry point.
    """

    kind: str
    folder: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        folder = None if self.folder is None else str(self.folder)
        return {"kind": self.kind, "folder": folder, "options": dict(self.options)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From what `to_dict` gave.

        Raises:
            ValueError: There is no such kind.
            KeyError, TypeError: It is not what `to_dict` gives.
        """
        if values["kind"] not in KINDS:
            raise ValueError(f"no kind of model: {values['kind']!r}")
        folder = values["folder"]
        return cls(values["kind"], None if folder is None else Path(folder), dict(values["options"]))


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of a model.

    Attributes:
        name: What it is served as.
        version: Empty while a model loads whose version only its code says.
        url: What was asked to be registered.
        source: What that is.
        settings: What the operator decided.
        queue: The number of its queue; 0 is that of face detection.
        state: What it does now.
        loaded_at_start: Whether it was not registered since the backend's start, but before.
        failure: Why it is FAILED, or why its last process could not be started though others serve, with no
            path of a file in it.
        card: What the model said of itself when it was loaded last, in this backend or the one before.
        workers: How many processes shall run now: to load, one even where `settings` have none.
    """

    name: str
    version: str
    url: str
    source: Source
    settings: ModelSettings
    queue: int
    state: State
    loaded_at_start: bool
    failure: str = ""
    card: Mapping[str, Any] | None = None
    workers: int = 0

    @property
    def key(self) -> str:
        """Its name among all versions of all models."""
        return f"{self.name}/{self.version}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        changed = {
            "source": self.source.to_dict(),
            "settings": asdict(self.settings),
            "state": self.state.value,
            "card": None if self.card is None else dict(self.card),
        }
        return values | changed

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From what `to_dict` gave.

        Raises:
            InvalidModel, KeyError, TypeError, ValueError: It is not what `to_dict` gives.
        """
        changed = {
            "source": Source.from_dict(values["source"]),
            "settings": ModelSettings(**values["settings"]),
            "state": State(values["state"]),
        }
        return cls(**{**values, **changed})


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All versions of all models at one time.

    Attributes:
        generation: Counts the changes.
        versions: Those that are served, or will be; face detection is among them where it is listed.
        defaults: For each name the version that serves calls which name none; a name whose first version
            loads has none.
        canary: For a name, percents of its calls which name no version, by version.
    """

    generation: int = 0
    versions: tuple[ModelVersion, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    canary: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def find(self, name: str, version: str = "", request_id: str = "") -> ModelVersion:
        """The version that is to serve a call, which is READY.

        Args:
            name: Of the model.
            version: Empty for the default version, or one that canary weights choose.
            request_id: What they choose by: the same id gets the same version.

        Raises:
            ModelNotFound: There is no such model, or no such version of it.
            ModelNotReady: It is not READY.
        """
        versions = {one.version: one for one in self.versions if one.name == name}
        if not versions:
            raise ModelNotFound(f"There is no model {shown(name)!r}", field="name")
        chosen = version or self._canary(name, versions, request_id) or self.defaults.get(name)
        if chosen is None:  # of a package, whose process has not said yet which version it is
            raise _not_ready(f"The model {name}", next(iter(versions.values())).state)
        if chosen not in versions:
            raise ModelNotFound(f"The model {name} has no version {shown(chosen)!r}", field="version")
        found = versions[chosen]
        if found.state is not State.READY:
            raise _not_ready(f"Version {chosen} of the model {name}", found.state)
        return found

    def names(self) -> tuple[str, ...]:
        """The names of all models, sorted."""
        return tuple(sorted({version.name for version in self.versions}))

    def of(self, name: str) -> tuple[ModelVersion, ...]:
        """All versions of a model, the lowest first; none where there is no such model."""
        found = (version for version in self.versions if version.name == name)
        return tuple(sorted(found, key=lambda one: version_key(one.version)))

    @property
    def is_settled(self) -> bool:
        """Whether each version that is served from the start on serves, is idle or has failed."""
        return not any(one.loaded_at_start and one.state is State.LOADING for one in self.versions)

    def to_json(self) -> bytes:
        """For other processes."""
        values = {
            "generation": self.generation,
            "versions": [version.to_dict() for version in self.versions],
            "defaults": dict(self.defaults),
            "canary": {name: dict(weights) for name, weights in self.canary.items()},
        }
        return json.dumps(values, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """From what `to_json` gave; nothing at all is a catalogue of which none has been published."""
        if not content:
            return cls()
        values = json.loads(content)
        return cls(**{**values, "versions": tuple(map(ModelVersion.from_dict, values["versions"]))})

    def _canary(self, name: str, versions: Mapping[str, ModelVersion], request_id: str) -> str | None:
        """The version that the weights choose; None is the default one, which also stands in for others."""
        place = crc32((name + request_id).encode()) % 100
        for version, weight in sorted(self.canary.get(name, {}).items()):
            if place < weight:
                return version if versions[version].state is State.READY else None
            place -= weight
        return None


_WHY_NOT = {
    State.LOADING: "is loading",
    State.IDLE: "has no process; it must be scaled up first",
    State.FAILED: "could not be loaded; the backend's log says why",
}
_RETRY_SECONDS = 1.0
"""What a caller is told to wait for a model that loads."""


def _not_ready(what: str, state: State) -> ModelNotReady:
    retry_after = _RETRY_SECONDS if state is State.LOADING else None
    return ModelNotReady(f"{what} {_WHY_NOT[state]}", field="name", retry_after=retry_after)
