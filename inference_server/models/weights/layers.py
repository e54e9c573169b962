"""ONNX graphs of convolutional networks, built layer by layer from arrays."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[np.float32]

# What onnxruntime 1.31 and every release since 1.14 reads.
_OPSET = 17
_IR_VERSION = 8

_EPSILON = 1e-3
"""Of batch normalisation, in the networks that come from TensorFlow."""


class Normalisation(NamedTuple):
    """The arrays of a batch normalisation, one number a channel."""

    scale: Array
    shift: Array
    mean: Array
    variance: Array


class Layers:
    """A graph under construction, with one input `image` of (N, channels, side, side), float32.

    Each method takes the name of what the layer is applied to, and gives that of its result. Padding is
    TensorFlow's SAME: as little as the stride needs, the odd pixel at the far edges.
    """

    def __init__(self, channels: int, side: int) -> None:
        self._input = helper.make_tensor_value_info(
            "image", TensorProto.FLOAT, ["batch", channels, side, side]
        )
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def convolution(
        self, x: str, kernel: Array, *, stride: int = 1, same: bool = True, bias: Array | None = None
    ) -> str:
        """A convolution; `kernel` is (out, in, height, width). Without `same` nothing is padded."""
        return self._convolution(x, kernel, bias, stride=stride, same=same, group=1)

    def depthwise(self, x: str, kernel: Array, *, stride: int = 1) -> str:
        """A convolution of each channel by itself; `kernel` is (channels, 1, height, width)."""
        return self._convolution(x, kernel, None, stride=stride, same=True, group=len(kernel))

    def normalise(self, x: str, arrays: Normalisation) -> str:
        """Batch normalisation with fixed statistics."""
        return self._add("BatchNormalization", x, *map(self._constant, arrays), epsilon=_EPSILON)

    def relu(self, x: str) -> str:
        """Negative numbers become 0."""
        return self._add("Relu", x)

    def relu6(self, x: str) -> str:
        """Numbers are cut to 0 to 6."""
        limits = (self._constant(np.array(limit, np.float32)) for limit in (0, 6))
        return self._add("Clip", x, *limits)

    def pool(self, x: str, window: int, stride: int) -> str:
        """The maximum of each window."""
        return self._add("MaxPool", x, kernel_shape=[window] * 2, strides=[stride] * 2, auto_pad="SAME_UPPER")

    def add(self, x: str, y: str) -> str:
        """The sum of two results of one shape."""
        return self._add("Add", x, y)

    def mean(self, x: str) -> str:
        """The mean of each channel: (N, channels)."""
        return self._add("Flatten", self._add("GlobalAveragePool", x))

    def dense(self, x: str, weights: Array, bias: Array) -> str:
        """A layer of (out, in) weights."""
        return self._add("Gemm", x, self._constant(weights), self._constant(bias), transB=1)

    def probabilities(self, x: str) -> str:
        """The softmax of each row."""
        return self._add("Softmax", x, axis=1)

    def serialize(self, top: str, classes: int, description: str) -> bytes:
        """The finished model, whose output `scores` is (N, classes), float32."""
        self._nodes.append(helper.make_node("Identity", [top], ["scores"]))
        scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", classes])
        graph = helper.make_graph(self._nodes, "network", [self._input], [scores], self._constants)
        opsets = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, doc_string=description)
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)

    def _convolution(
        self, x: str, kernel: Array, bias: Array | None, *, stride: int, same: bool, group: int
    ) -> str:
        arrays = [kernel] if bias is None else [kernel, bias]
        padding = "SAME_UPPER" if same else "VALID"
        constants = map(self._constant, arrays)
        return self._add("Conv", x, *constants, strides=[stride] * 2, auto_pad=padding, group=group)

    def _add(self, operator: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - as make_node
        name = f"{operator}{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def _constant(self, array: Array) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name


def channels_first(kernel: Array) -> Array:
    """(height, width, in, out), as Keras has it, to (out, in, height, width)."""
    return kernel.transpose(3, 2, 0, 1)
