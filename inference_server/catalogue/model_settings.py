"""What an operator decides of a version of a model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from utils.errors import InvalidModel, shown

MOST_PROCESSES = 64
"""How many processes there can be for all models together."""

_ALL = 100  # percent


@dataclass(frozen=True, slots=True)
class _Range:
    kind: type[int] | type[float]
    low: float
    high: float

    def check(self, name: str, value: object) -> None:
        whole = isinstance(value, int) and not isinstance(value, bool)
        number = whole or (self.kind is float and isinstance(value, float) and math.isfinite(value))
        if not number or not self.low <= value <= self.high:  # type: ignore[operator] # it is a number
            what = "a whole number" if self.kind is int else "a number of seconds"
            raise InvalidModel(
                f"{name} is {shown(repr(value))}; accepted: {what} from {self.low:g} to {self.high:.14g}",
                field=name,
            )


def _setting(kind: type[int] | type[float], low: float, high: float, default: float) -> Any:  # noqa: ANN401 - as dataclasses.field
    return field(default=default, metadata={"range": _Range(kind, low, high)})


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What an operator decides of a version.

    Attributes:
        min_workers: How many processes run; 0 is none until it is scaled.
        max_workers: An upper bound that is kept for protocols that show one.
        max_batch: Most requests that are computed at once; 1 leaves it to the model's own.
        max_batch_delay: Longest wait for a batch to fill up, in seconds.
        response_timeout: Seconds without progress after which a process with a request in flight is killed.
        startup_timeout: Seconds that a process has to load the model.
        nice: By how much the processes' priority is lowered.
        memory_bytes: Memory that a process may have (RLIMIT_DATA); one that wants more is replaced. 0 is no
            limit.

    Raises:
        InvalidModel: A value is out of its range, or of another type; the field is its name.
    """

    min_workers: int = _setting(int, 0, MOST_PROCESSES, 1)
    max_workers: int = _setting(int, 0, MOST_PROCESSES, 1)
    max_batch: int = _setting(int, 1, 64, 1)
    max_batch_delay: float = _setting(float, 0, 60, 0.0)
    response_timeout: float = _setting(float, 0.1, 3600, 30.0)
    startup_timeout: float = _setting(float, 0.1, 3600, 60.0)
    nice: int = _setting(int, 0, 19, 0)
    memory_bytes: int = _setting(int, 0, 10**13, 0)

    def __post_init__(self) -> None:
        """Check each value, and those that belong together."""
        for setting in fields(self):
            setting.metadata["range"].check(setting.name, getattr(self, setting.name))
        if self.max_workers < self.min_workers:
            raise InvalidModel(
                f"max_workers is {self.max_workers}; accepted: at least min_workers, which is "
                f"{self.min_workers}",
                field="max_workers",
            )

        if self.max_batch_delay >= self.response_timeout:
            raise InvalidModel(
                f"max_batch_delay is {self.max_batch_delay:g}; accepted: less than response_timeout, "
                f"which is {self.response_timeout:g}",
                field="max_batch_delay",
            )

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """These settings with others' values; max_workers grows with min_workers if it is not among them.

        Raises:
            InvalidModel: A value cannot be used, or is of no setting.
        """
        for name in changes:
            if name not in self.__dataclass_fields__:
                raise InvalidModel(f"There is no setting {shown(name)!r} of a model", field=shown(name))
        changes = dict(changes)
        wanted = changes.get("min_workers")
        if isinstance(wanted, int) and "max_workers" not in changes:
            changes["max_workers"] = max(wanted, self.max_workers)
        return replace(self, **changes)


def check_weights(weights: Mapping[str, Any]) -> None:
    """Refuse what cannot be the canary weights of a model: percents of its calls, by version.

    Raises:
        InvalidModel: A weight is no percentage, or they are more than 100 together; the field is `weights`.
    """
    for version, weight in weights.items():
        if not isinstance(weight, int) or isinstance(weight, bool) or not 0 <= weight <= _ALL:
            raise InvalidModel(
                f"The weight of version {shown(version)} is {shown(repr(weight))}; accepted: a whole "
                f"number of percent from 0 to {_ALL}",
                field="weights",
            )
    if sum(weights.values()) > _ALL:
        raise InvalidModel(
            f"The weights are {sum(weights.values())} together; accepted: at most {_ALL}", field="weights"
        )


def check_traffic(weights: Mapping[str, Any]) -> None:
    """Refuse what does not say of all calls which version serves them, in percents by version.

    Raises:
        InvalidModel: A weight is no percentage, or they are not 100 together; the field is `weights`.
    """
    check_weights(weights)
    if sum(weights.values()) != _ALL:
        raise InvalidModel(
            f"The weights are {sum(weights.values())} together; accepted: {_ALL}, with the default version's",
            field="weights",
        )
