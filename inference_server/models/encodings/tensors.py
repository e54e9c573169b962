"""A model's inputs and outputs as tensors, as its card tells them. NumPy is not needed to know them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor.

    Attributes:
        name: In requests and answers.
        datatype: BOOL, INT64, FP32, BYTES and so on, as the Open Inference Protocol names them.
        shape: Its dimensions, -1 where any length is accepted.
        required: Whether a request must have it.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    required: bool = True

    def describe(self) -> dict[str, Any]:
        """As cards have it."""
        return {
            "name": self.name,
            "datatype": self.datatype,
            "shape": [*self.shape],
            "required": self.required,
        }


@dataclass(frozen=True, slots=True)
class Rows:
    """Items of a request as arrays, one of each tensor, which their model takes and gives as they are.

    Attributes:
        arrays: In the order of the model's tensors.
        count: How many items: the length of their first dimension, where that is the batch.
    """

    arrays: Sequence[Any]
    count: int


class TensorInterface(ABC):
    """How a model is called by tensors.

    Attributes:
        inputs: What a request may have.
        outputs: What an answer has.
        batched: Whether the first dimension of all of them counts the items of a request.
        most_items: Of a request; 0 where there is no limit but that of its bytes.
        item_name: What errors of one of several items name; empty where they name members of an item.
    """

    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
    batched: bool
    most_items: int = 0
    item_name: str = ""

    @abstractmethod
    def split(self, arrays: Mapping[str, Any], most: int, parameters: Mapping[str, Any]) -> list[Any]:
        """The inputs that the model's `predict` takes.

        Args:
            arrays: By name, as `inputs` describe them, BYTES as arrays of bytes objects.
            most: Items that may be computed at once.
            parameters: Of the request, those of the protocol included.

        Raises:
            InvalidInput: They do not fit the model's schema; the field is the tensor.
        """

    @abstractmethod
    def join(self, outputs: Sequence[Any]) -> dict[str, Any]:
        """The values of each tensor of an answer, from what `predict` has given: arrays, or nested lists.

        Args:
            outputs: One for each input.
        """

    def describe(self) -> dict[str, Any]:
        """As cards have it."""
        return {
            "inputs": [one.describe() for one in self.inputs],
            "outputs": [one.describe() for one in self.outputs],
            "batched": self.batched,
        }
