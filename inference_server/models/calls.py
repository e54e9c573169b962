"""Requests that are being answered together: their inputs, and the batches in which they are computed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from inference_server.dispatch.work import Work
from inference_server.models.encodings.tensors import Rows
from inference_server.models.operations import Encode
from utils.errors import FacetError


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One call of `predict`: how many inputs it had, and how long it took."""

    size: int
    ms: float


@dataclass(slots=True, eq=False)
class Item:
    """One input, or rows of them, and what becomes of it."""

    call: "Call"
    number: int
    value: Any
    batch: Batch | None = None
    output: Any = None

    @property
    def size(self) -> int:
        """How many inputs it stands for."""
        return self.value.count if isinstance(self.value, Rows) else 1


@dataclass(slots=True, eq=False)
class Call:
    """One request.

    Attributes:
        work: It.
        names: Those of its log lines.
        items_name: What errors of one of several items name, as Operation has it.
        encode: Makes its answer of the outputs.
        items: Its inputs.
        error: Its answer where there is one.
        answer_bytes: What its answer has at least, as far as there are outputs, where it has several inputs.
    """

    work: Work
    names: dict[str, str | None] = field(default_factory=dict)
    items_name: str = ""
    encode: Encode | None = None
    items: list[Item] = field(default_factory=list)
    error: FacetError | None = None
    answer_bytes: int = 0

    def log_fields(self, started: float) -> dict[str, object]:
        """What the log line of the request says of it.

        Args:
            started: When it was begun, of the monotonic clock.
        """
        batches = {item.batch for item in self.items if item.batch is not None}
        count = sum(item.size for item in self.items)
        return {
            **({"items": count} if count != 1 else {}),
            "queue_ms": round((started - self.work.received) * 1000, 3),
            "predict_ms": round(sum(batch.ms for batch in batches), 3),
            "batch": max((batch.size for batch in batches), default=0),
        }


def least_bytes(value: object) -> int:
    """Bytes that a value of an output has in any encoding, at least; one where it is no text and no bytes."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, BaseModel):
        return sum(map(least_bytes, vars(value).values()))
    if isinstance(value, Mapping):
        return len(value) + sum(map(least_bytes, value.values()))
    if not isinstance(value, list):
        return 1
    return len(value) if value and isinstance(value[0], int | float) else sum(map(least_bytes, value))


def batches(items: Iterable[Item], most: int) -> Iterator[Sequence[Item]]:
    """Parts of the items with at most so many inputs; one that stands for more is a part of its own."""
    batch: list[Item] = []
    size = 0
    for item in items:
        if batch and size + item.size > most:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.size
    if batch:
        yield batch
