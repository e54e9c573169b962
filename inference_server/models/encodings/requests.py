"""What requests of the Open Inference Protocol ask for, in whichever form they come."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from inference_server.models.encodings import oip_grpc, oip_http
from inference_server.models.encodings.arrays import Given, answered, checked, classified, wrong
from inference_server.models.encodings.forms import Answered, Inference
from inference_server.models.encodings.tensors import TensorInterface, TensorSpec
from utils.errors import InvalidInput, shown

__all__ = ["FORMS", "answers", "checked", "wanted"]


class Form(Protocol):
    """A module that reads requests and writes answers."""

    def read(self, payload: bytes, parameters: bytes, model: str, /) -> tuple[Inference, Iterable[Given]]:
        """What a request says, and its tensors."""

    def write(self, model: str, version: str, request_id: str, outputs: Sequence[Answered], /) -> bytes:
        """An answer."""


FORMS: Mapping[str, Form] = {"oip": oip_grpc, "oip_http": oip_http}


class Wanted(NamedTuple):
    """An output that is asked for.

    Attributes:
        spec: It.
        classes: How many of its highest values are wanted instead of it; 0 for itself.
        binary: Whether it is wanted in binary form.
    """

    spec: TensorSpec
    classes: int
    binary: bool


def wanted(interface: TensorInterface, inference: Inference) -> list[Wanted]:
    """The outputs that a request asks for.

    Raises:
        InvalidInput: The model does not have one, or it is there twice, or has a wrong parameter.
    """
    specs = {spec.name: spec for spec in interface.outputs}
    found: dict[str, Wanted] = {}
    for name, parameters in inference.outputs or [(name, {}) for name in specs]:
        if name not in specs:
            raise wrong(name, f"is no output of the model; it gives {', '.join(specs)}")
        if name in found:
            raise InvalidInput(f"output '{shown(name)}' already exists in request", field=shown(name))
        binary = parameters.get("binary_data", inference.binary)
        classes = parameters.get("classification", 0)
        if not isinstance(binary, bool):
            raise wrong(name, "has a parameter binary_data that is not true or false")
        if type(classes) is not int or classes < 0:
            raise wrong(name, "has a parameter classification that is no whole number from 0")
        found[name] = Wanted(specs[name], classes, binary)
    return [*found.values()]


def answers(asked: Iterable[Wanted], found: Mapping[str, Any], *, batched: bool) -> list[Answered]:
    """The outputs that are asked for.

    Args:
        asked: They.
        found: As TensorInterface.join gives it.
        batched: Whether the first dimension of all counts items.

    Raises:
        InvalidInput: What was found cannot be had as it is asked for.
        ValueError: A number is too large for its datatype.
    """
    made = []
    for spec, classes, binary in asked:
        array = answered(spec, found[spec.name])
        datatype = spec.datatype
        if classes:
            array, datatype = classified(spec.name, array, classes, batched=batched), "BYTES"
        made.append(Answered(spec.name, datatype, array, binary))
    return made
