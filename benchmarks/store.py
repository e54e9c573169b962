"""Models that are measured, and the store that they are put in."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from facet_serving import Model
from inference_server.models.schema import Schema

BATCH_MS, ITEM_MS = 18, 2


class Payload(BaseModel):
    """Bytes."""

    content: bytes


class Length(BaseModel):
    """How many."""

    length: int


class Sink(Model):
    """Takes bytes and looks at none of them."""

    Input = Payload
    Output = Length

    def predict(self, inputs: Sequence[Payload]) -> list[Length]:
        """Count them."""
        return [Length(length=len(one.content)) for one in inputs]


class Unread(Sink):
    """The same in a process in which messages are neither read nor written: without a schema."""

    def load(self, _folder: Path | None, _options: Mapping[str, Any]) -> None:
        """Have this process take any bytes for the same input, and give none back."""
        taken = Payload(content=b"")
        Schema.decode = lambda _schema, _message: taken  # type: ignore[method-assign, assignment]
        Schema.encode = lambda _schema, _output: b""  # type: ignore[method-assign, assignment]


class Returned(Model):
    """Gives back the bytes of its messages, which are neither read nor written in its process."""

    Input = Output = Payload

    def load(self, _folder: Path | None, _options: Mapping[str, Any]) -> None:
        """Have this process take a message as the content, and the content as the answer's message."""
        Schema.decode = lambda _schema, message: Payload.model_construct(content=message)  # type: ignore[method-assign, assignment]
        Schema.encode = lambda _schema, output: output.content  # type: ignore[method-assign, assignment, attr-defined]

    def predict(self, inputs: Sequence[Payload]) -> list[Payload]:
        """Give them back."""
        return [*inputs]


class Slow(Sink):
    """Sleeps for a batch and for each of its items, as a model does that computes on a device of its own."""

    def predict(self, inputs: Sequence[Payload]) -> list[Length]:
        """Sleep, and count."""
        time.sleep((BATCH_MS + ITEM_MS * len(inputs)) / 1000)
        return super().predict(inputs)


def put(store: Path, name: str, kind: str, **keys: object) -> Path:
    """Have version 1.0 of a model in a store; gives its folder.

    Args:
        store: The folder of all models.
        name: Of the model.
        kind: Of the model.
        **keys: Further keys of model.toml: texts, numbers and lists of numbers.
    """
    folder = store / name / "1.0"
    folder.mkdir(parents=True, exist_ok=True)
    values = {"kind": kind, **keys}
    lines = [f"{key} = {value!r}\n" for key, value in values.items()]
    (folder / "model.toml").write_text("".join(lines))
    return folder


def put_class(store: Path, name: str, model: type[Model], **keys: object) -> Path:
    """Have a model of this module in a store."""
    return put(store, name, "python", **{"class": f"{__name__}:{model.__name__}"}, **keys)
