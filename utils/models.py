"""The words of any model, as plain immutable values: what a backend serves, and what it has answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """One version of a model.

    Of one that has never been loaded only the first four and `kind` are known; the others are empty.

    Attributes:
        name: As in a call.
        version: One of the model's; it begins with a digit.
        state: `loading`, `ready`, `idle` (it has no process) or `failed`.
        default: Whether it serves calls that name no version.
        display_name: For people.
        description: For people.
        kind: What it is made of, such as `onnx` or `python`.
        max_batch: Most inputs that are computed at once; 0 where it is not known.
        operations: The encodings in which it can be called, `json` and `multipart` among them.
        input_schema: JSON Schema of an input; None where it is not known.
        output_schema: JSON Schema of an answer; None where it is not known.
        descriptor: A serialized google.protobuf.FileDescriptorProto of the model's messages.
        input_type: The name of the input's message in it.
        output_type: The name of the answer's message in it.
        tensors: Its inputs and outputs as tensors, as models.proto has them; None where they are not known.
    """

    name: str
    version: str
    state: str
    default: bool
    display_name: str = ""
    description: str = ""
    kind: str = ""
    max_batch: int = 0
    operations: tuple[str, ...] = ()
    input_schema: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None
    descriptor: bytes = b""
    input_type: str = ""
    output_type: str = ""
    tensors: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's answer as it came, and the version that has answered.

    Attributes:
        name: The model's.
        version: One of the model's.
        content: A JSON object; the answer to an encoded input is in the same encoding.
    """

    name: str
    version: str
    content: bytes
