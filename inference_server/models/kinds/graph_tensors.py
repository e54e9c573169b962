"""An ONNX graph's inputs and outputs as tensors, with the names, types and shapes that they have in it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from inference_server.models.encodings.tensors import Rows, TensorInterface, TensorSpec
from inference_server.models.kinds.tensors import Array, Tensor
from utils.errors import InvalidInput

_DATATYPES = {
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "bool": "BOOL",
    "object": "BYTES",
}


class GraphTensors(TensorInterface):
    """The tensors of a graph; a map of scikit-learn's converters is an element of BYTES with JSON.

    Args:
        inputs, outputs: Of the graph.
        batched: Whether the first dimension of all of them is that of the batch.
    """

    def __init__(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], *, batched: bool) -> None:
        self.batched = batched
        self._inputs, self._outputs = inputs, outputs
        self.inputs = [self._spec(tensor) for tensor in inputs]
        self.outputs = [self._spec(tensor) for tensor in outputs]

    def _spec(self, tensor: Tensor) -> TensorSpec:
        item = tuple(-1 if length is None else length for length in tensor.shape)
        shape = (-1, *item) if self.batched else item
        return TensorSpec(tensor.name, _DATATYPES[tensor.dtype], shape)

    def split(self, arrays: Mapping[str, Any], most: int, _parameters: Mapping[str, Any]) -> list[Rows]:
        """As TensorInterface has it; parts of the arrays, which are not copied."""
        ordered = [_fed(tensor, arrays[tensor.name]) for tensor in self._inputs]
        if not self.batched:
            return [Rows(ordered, 1)]
        count = len(ordered[0])
        if count <= most:
            return [Rows(ordered, count)]
        parts = (slice(start, start + most) for start in range(0, count, most))
        return [Rows(part := [array[one] for array in ordered], len(part[0])) for one in parts]

    def join(self, outputs: Sequence[Rows]) -> dict[str, Any]:
        """As TensorInterface has it."""
        columns = zip(*(rows.arrays for rows in outputs), strict=True)
        return {
            tensor.name: self._joined(tensor, parts)
            for tensor, parts in zip(self._outputs, columns, strict=True)
        }

    def _joined(self, tensor: Tensor, parts: Sequence[Any]) -> Any:  # noqa: ANN401
        if tensor.mapping is not None:
            options = orjson.OPT_NON_STR_KEYS
            return [orjson.dumps(one, option=options) for part in parts for one in part]
        array = np.asarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)
        return _encoded(array) if tensor.dtype == "object" else array


def _fed(tensor: Tensor, array: Array) -> Array:
    """What the graph is fed with.

    Raises:
        InvalidInput: A dimension is 0, or a text is not UTF-8.
    """
    if not array.size:
        raise InvalidInput(f"{tensor.name} has no elements; accepted: 1 or more", field=tensor.name)
    if tensor.dtype != "object":
        return array
    try:
        return _each(array, bytes.decode)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{tensor.name} is not UTF-8", field=tensor.name) from error


def _encoded(array: Array) -> Array:
    return _each(array, str.encode)


def _each(array: Array, change: Any) -> Array:  # noqa: ANN401 - a function of an element
    """An array of objects, each of them changed."""
    made: Array = np.empty(array.size, object)
    made[:] = [change(one) for one in array.reshape(-1).tolist()]
    return made.reshape(array.shape)
