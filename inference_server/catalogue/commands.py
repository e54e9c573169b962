"""What the supervisor is asked to do with the models, with its processes, and how it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from utils.errors import FacetError


@dataclass(frozen=True, slots=True)
class Register:
    """Serve a version of a model.

    Attributes:
        url: What `Store.resolve` takes.
        name: What it is served as; empty for its own name.
        version: Which one, where `url` does not say.
        settings: Of ModelSettings, those that are not to be the model's own.
        synchronous: Whether the answer comes when it is served; else it does when it begins to load.
    """

    url: str
    name: str = ""
    version: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    synchronous: bool = True


@dataclass(frozen=True, slots=True)
class Unregister:
    """Serve a version no longer; without one, the default version. It is answered when no request waits."""

    name: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Change how many processes a version has. Without a version the default one.

    Attributes:
        min_workers: How many processes run; 0 stops all of them, until it is scaled again.
        max_workers: As ModelSettings has it; None keeps it, but for what `min_workers` asks.
    """

    name: str
    version: str = ""
    min_workers: int = 1
    max_workers: int | None = None


@dataclass(frozen=True, slots=True)
class Reload:
    """Have a version serve what the store has of it now. Without a version the default one.

    It is answered when all of its processes do, at once where they do already.
    """

    name: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class SetDefault:
    """Have calls that name no version served by this one."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class SetCanary:
    """Have percents of the calls that name no version served by others than the default one.

    Attributes:
        weights: Percents by version, at most 100 together; none for no canary.
    """

    name: str
    weights: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SetTraffic:
    """Divide the calls that name no version among versions.

    Attributes:
        weights: Percents by version, 100 together; the default version is one that may be among them.
    """

    name: str
    weights: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ListModels:
    """List all versions of all models."""


@dataclass(frozen=True, slots=True)
class DescribeModel:
    """Describe a version with its card; without one, all versions of the model."""

    name: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """Describe the whole backend: its processes, its queues, its models, what failed lately."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Have the backend finish what it has accepted, and end, as SIGTERM does."""


@dataclass(frozen=True, slots=True)
class SetLogLevel:
    """Have all processes of the backend log what is of this level or above it."""

    level: str


ModelCommand = (
    Register | Unregister | Scale | Reload | SetDefault | SetCanary | SetTraffic | ListModels | DescribeModel
)
Look = ListModels | DescribeModel | Status
"""Commands that change nothing."""
BackendCommand = Status | Drain | SetLogLevel
Command = ModelCommand | BackendCommand

AT_ONCE: Final = 30.0
"""Seconds that the supervisor has for what it looks up or writes down."""
LONG: Final = 7200.0
"""Seconds for what waits for processes of a model; the supervisor bounds it by times of the version's own."""

Answer = Mapping[str, Any] | FacetError
"""What was done, or why it was not."""


def patience(command: Command) -> float:
    """Seconds after which there should be an answer."""
    return LONG if isinstance(command, Register | Unregister | Scale | Reload) else AT_ONCE
