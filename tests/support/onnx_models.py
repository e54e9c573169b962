"""Small ONNX models for tests, built from operators."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Dimensions = Sequence[int | str | None]


def tensor(name: str, dimensions: Dimensions | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """An input or output of a graph."""
    return helper.make_tensor_value_info(name, kind, dimensions)


def save(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    **constants: npt.NDArray[Any],
) -> Path:
    """Write model.onnx into the folder, which is returned."""
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder


def linear(folder: Path, batch: str | int | None = "batch") -> Path:
    """A model of y = 2 x + 1, of three numbers an item."""
    return save(
        folder,
        [
            helper.make_node("Mul", ["x", "two"], ["doubled"]),
            helper.make_node("Add", ["doubled", "one"], ["y"]),
        ],
        [tensor("x", [batch, 3])],
        [tensor("y", [batch, 3])],
        two=np.array([2], np.float32),
        one=np.array([1], np.float32),
    )


def identity(folder: Path, size: int) -> Path:
    """A model that gives back an item of so many numbers."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return save(folder, [node], [tensor("x", ["batch", size])], [tensor("y", ["batch", size])])


def iris(folder: Path) -> Path:
    """What scikit-learn's converter writes for a classifier: a label, and a map of probabilities."""
    classifier = helper.make_node(
        "LinearClassifier",
        ["float_input"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        classlabels_ints=[0, 1, 2],
        coefficients=[0.4, 1.4, -2.3, -1.0, 0.4, -1.6, 0.5, -1.3, -1.7, -1.5, 2.5, 2.5],
        intercepts=[0.3, 1.1, -1.2],
        multi_class=1,
        post_transform="SOFTMAX",
    )
    zip_map = helper.make_node(
        "ZipMap", ["scores"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]
    )
    of_a_class = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    probabilities = helper.make_value_info("probabilities", helper.make_sequence_type_proto(of_a_class))
    return save(
        folder,
        [classifier, zip_map],
        [tensor("float_input", [None, 4])],
        [tensor("label", [None], TensorProto.INT64), probabilities],
    )


def brightness(folder: Path, dimensions: Dimensions = ("batch", 3, 8, 8), values: int = 3) -> Path:
    """A network of pictures whose output is `values` channel means, the first channels repeated.

    Args:
        folder: Where model.onnx is written.
        dimensions: Of the input, the batch first; the channels are where there is 1 or 3.
        values: Of an item's output.
    """
    axes = [2, 3] if dimensions[1] in {1, 3} else [1, 2]
    channels = dimensions[1] if dimensions[1] in {1, 3} else dimensions[3]
    assert isinstance(channels, int)
    spread = np.eye(channels, values, dtype=np.float32) + np.eye(
        channels, values, k=channels, dtype=np.float32
    )
    return save(
        folder,
        [
            helper.make_node("ReduceMean", ["image"], ["means"], axes=axes, keepdims=0),
            helper.make_node("MatMul", ["means", "spread"], ["output"]),
        ],
        [tensor("image", dimensions)],
        [tensor("output", [dimensions[0], values])],
        spread=spread,
    )


def seen(folder: Path, dimensions: Dimensions) -> Path:
    """A network of pictures whose output is its input, flat: what it is shown."""
    return save(
        folder,
        [helper.make_node("Flatten", ["image"], ["output"])],
        [tensor("image", dimensions)],
        [tensor("output", [dimensions[0], "values"])],
    )


def convolutions(folder: Path, batch: str | int, classes: int = 10) -> Path:
    """A small network of pictures of 224 x 224: three convolutions with random weights, and a mean.

    Args:
        folder: Where model.onnx is written.
        batch: The first dimension of its input.
        classes: Of its output.
    """
    rng = np.random.default_rng(0)
    widths = (3, 16, 32, classes)
    nodes, weights = [], {}
    for number, (taken, given) in enumerate(itertools.pairwise(widths)):
        weights[f"w{number}"] = rng.normal(0, 0.1, (given, taken, 3, 3)).astype(np.float32)
        names = [f"a{number}" if number else "image", f"w{number}"]
        nodes += [
            helper.make_node("Conv", names, [f"c{number}"], kernel_shape=[3, 3], strides=[2, 2]),
            helper.make_node("Relu", [f"c{number}"], [f"a{number + 1}"]),
        ]
    nodes.append(helper.make_node("ReduceMean", [f"a{len(weights)}"], ["output"], axes=[2, 3], keepdims=0))
    image, output = tensor("image", [batch, 3, 224, 224]), tensor("output", [batch, classes])
    return save(folder, nodes, [image], [output], **weights)
