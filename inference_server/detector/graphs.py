"""The three networks as ONNX graphs, built from the arrays of the package's weights.

Layers and their order are those of `mtcnn/network/{pnet,rnet,onet}.py` of mtcnn 1.0.0, which are those of
Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks" (2016).
Three things are arranged differently, none of which changes what is computed:

- Arrays are channels first. The dense layers' weights, which expect width, height, channels, are
  permuted here, once.
- The heads of a network are one layer: the difference of the two logits (a softmax over two logits is
  the logistic function of their difference), the regressions x1, y1, x2, y2, and in the output
  network the landmarks, five x and then five y.
- PReLU is spelled in elementary operators: ONNX Runtime vectorizes them, and not its own PRelu.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

FloatArray = npt.NDArray[np.float32]

# What onnxruntime 1.31 and every release since 1.14 reads.
_OPSET = 17
_IR_VERSION = 8


@dataclass(frozen=True)
class _Architecture:
    """One network: the pooling after each convolution, and the side of its input (None: any size).

    A pooling is (window, ceil): the package's SAME padding adds at most one row and one column at the
    far edge, which is what rounding the output's size up does; VALID is rounding down.
    """

    pools: tuple[tuple[int, bool] | None, ...]
    side: int | None


_ARCHITECTURES = {
    "pnet": _Architecture(((2, True), None, None), None),
    "rnet": _Architecture(((3, True), (3, False), None), 24),
    "onet": _Architecture(((3, True), (3, False), (2, True), None), 48),
}


def build_model(network: str, weights: Sequence[FloatArray]) -> bytes:
    """Serialize one of the networks.

    Its input `image` is float32 (N, 3, H, W) RGB, normalised to [-1, 1]. Its output `heads` is float32:
    for pnet (N, 5, rows, columns), for rnet (N, 5), for onet (N, 15), in the order given above.

    Args:
        network: pnet, rnet or onet.
        weights: The package's arrays in the order in which it saves them: kernel, bias and slopes of each
            layer, then kernel and bias of each head, the logits last.
    """
    graph = _Graph(list(weights))
    architecture = _ARCHITECTURES[network]
    for pool in architecture.pools:
        graph.convolve()
        if pool is not None:
            graph.pool(*pool)
    if architecture.side is None:
        heads = graph.convolution_heads()
        return graph.serialize(network, ["n", 3, "height", "width"], ["n", heads, "rows", "columns"])
    graph.dense()
    heads = graph.dense_heads()
    return graph.serialize(network, ["n", 3, architecture.side, architecture.side], ["n", heads])


class _Graph:
    """A chain of layers under construction, which eats the list of weights from its front."""

    def __init__(self, weights: list[FloatArray]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._top = "image"
        self._channels = 3

    def convolve(self) -> None:
        kernel, bias, slopes = self._take(3)
        self._channels = bias.size
        self._add("Conv", self._constant(_channels_first(kernel)), self._constant(bias))
        self._prelu(slopes.reshape(-1, 1, 1))

    def pool(self, window: int, ceil: bool) -> None:
        self._add("MaxPool", kernel_shape=[window, window], strides=[2, 2], ceil_mode=int(ceil))

    def dense(self) -> None:
        kernel, bias, slopes = self._take(3)
        side = int((kernel.shape[0] / self._channels) ** 0.5)
        permuted = kernel.reshape(side, side, self._channels, -1).transpose(2, 1, 0, 3)
        self._add("Flatten")
        self._add("Gemm", self._constant(permuted.reshape(kernel.shape)), self._constant(bias))
        self._prelu(slopes)

    def convolution_heads(self) -> int:
        kernel, bias = self._heads()
        self._add("Conv", self._constant(_channels_first(kernel)), self._constant(bias), output="heads")
        return bias.size

    def dense_heads(self) -> int:
        kernel, bias = self._heads()
        self._add("Gemm", self._constant(kernel), self._constant(bias), output="heads")
        return bias.size

    def serialize(self, name: str, input_shape: list[int | str], output_shape: list[int | str]) -> bytes:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, input_shape)
        heads = helper.make_tensor_value_info("heads", TensorProto.FLOAT, output_shape)
        graph = helper.make_graph(self._nodes, name, [image], [heads], self._constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
        )
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)

    def _heads(self) -> tuple[FloatArray, FloatArray]:
        """All heads side by side, the logits (not a face, a face) as their difference, first."""
        *others, logits, logits_bias = self._take(len(self._weights))
        kernels = [logits[..., 1:] - logits[..., :1], *others[0::2]]
        biases = [logits_bias[1:] - logits_bias[:1], *others[1::2]]
        return np.concatenate(kernels, axis=-1), np.concatenate(biases)

    def _prelu(self, slopes: FloatArray) -> None:
        x, slope = self._top, self._constant(slopes)
        if slopes.max() <= 1:
            self._add("Mul", slope)
            self._add("Max", x)
            return
        # max(x, slope * x), which is cheaper, would be wrong for the few slopes above 1.
        self._add("Min", self._constant(np.zeros((), np.float32)))
        negative = self._add("Mul", slope)
        self._add("Relu", top=x)
        self._add("Add", negative)

    def _add(self, operator: str, *inputs: str, top: str = "", output: str = "", **attributes: Any) -> str:  # noqa: ANN401 - as make_node
        name = output or f"{operator}{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, [top or self._top, *inputs], [name], **attributes))
        self._top = name
        return name

    def _constant(self, array: FloatArray) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _take(self, count: int) -> list[FloatArray]:
        taken, self._weights = self._weights[:count], self._weights[count:]
        return taken


def _channels_first(kernel: FloatArray) -> FloatArray:
    """(height, width, in, out), as TensorFlow has it, to (out, in, height, width)."""
    return kernel.transpose(3, 2, 0, 1)
