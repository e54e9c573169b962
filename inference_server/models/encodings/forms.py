"""What the two forms of the Open Inference Protocol, messages and JSON, have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_server.models.encodings.arrays import Array


@dataclass(frozen=True, slots=True)
class Inference:
    """What a request says beside its inputs.

    Attributes:
        id: Sent back.
        parameters: What it says to the model.
        outputs: Those that are asked for, with their parameters; none for all of them.
        binary: Whether outputs that do not say so themselves are wanted in binary form.
    """

    id: str
    parameters: Mapping[str, Any]
    outputs: Sequence[tuple[str, Mapping[str, Any]]]
    binary: bool = True


@dataclass(frozen=True, slots=True)
class Answered:
    """An output.

    Attributes:
        name, datatype: As the answer has them.
        array: In the dtype of the datatype.
        binary: Whether it is wanted in binary form.
    """

    name: str
    datatype: str
    array: Array
    binary: bool
