"""The operations `oip` and `oip_http`: inferences of the Open Inference Protocol, in messages and in JSON."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from inference_server.catalogue.names import whole_number
from inference_server.models.encodings.tensors import TensorInterface

OPERATIONS = ("oip", "oip_http")


class InferenceOperation:
    """Reads and answers the requests of one of them.

    Args:
        name: Which one.
        key: Name and version of the model, `NAME/VERSION`.
        interface: Its tensors.
        max_batch: Items that may be computed at once.

    Attributes:
        items: As Operation has it.
    """

    def __init__(self, name: str, key: str, interface: TensorInterface, max_batch: int) -> None:
        self._name = name
        self._model, version = key.split("/")
        self._version = whole_number(version)
        self._interface = interface
        self._max_batch = max_batch
        self.items = interface.item_name

    def open(self, payload: bytes, parameters: bytes) -> tuple[list[Any], Callable[[Sequence[Any]], bytes]]:
        """The inputs of a request, and what makes its answer of their outputs.

        Raises:
            MalformedRequest: It cannot be read.
            InvalidInput: Its inputs, or the outputs that it asks for, are not the model's.
        """
        # NumPy takes memory that models which nobody calls by tensors have better use for.
        from inference_server.models.encodings import requests  # noqa: PLC0415

        form = requests.FORMS[self._name]
        inference, given = form.read(payload, parameters, self._model)
        wanted = requests.wanted(self._interface, inference)
        arrays = requests.checked(self._interface, given)

        def encode(outputs: Sequence[Any]) -> bytes:
            found = self._interface.join(outputs)
            answers = requests.answers(wanted, found, batched=self._interface.batched)
            return form.write(self._model, self._version, inference.id, answers)

        return self._interface.split(arrays, self._max_batch, inference.parameters), encode


def operations_of(key: str, interface: TensorInterface, max_batch: int) -> Mapping[str, InferenceOperation]:
    """The operations of a model, by name; the arguments are those of InferenceOperation."""
    made = {name: InferenceOperation(name, key, interface, max_batch) for name in OPERATIONS}
    return MappingProxyType(made)
