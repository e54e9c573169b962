"""The arrays of a file by torch.save, in the form from before PyTorch 1.6, without torch.

The file is five pickles and then the numbers: a magic number, a version, the machine's properties, the
arrays' descriptions, the keys of their storages; then for each key a count (int64) and the elements.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Tensor(NamedTuple):
    """An array's description: the key of its storage, its type, and offset, shape and strides in elements."""

    storage: tuple[str, np.dtype[Any]]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Knows what describes arrays, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as pickle.Unpickler
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"the file names {module}.{name}, which is no part of an array")

    def persistent_load(self, pid: Any) -> tuple[str, np.dtype[Any]]:  # noqa: ANN401 - as pickle.Unpickler
        _, dtype, key, *_ = pid
        return key, dtype


def _tensor(
    storage: tuple[str, np.dtype[Any]],
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *_: object,
) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


def read_arrays(content: bytes) -> Mapping[str, npt.NDArray[Any]]:
    """The arrays of a state dictionary, by name.

    Raises:
        pickle.UnpicklingError: The file is in another form, or names something that is no part of an array.
        ValueError: An array reaches beyond its storage, or the file ends too soon.
    """
    file = io.BytesIO(content)
    load: Callable[[], Any] = lambda: _Unpickler(file).load()  # noqa: E731
    if load() != _MAGIC:
        raise pickle.UnpicklingError("this is no file by torch.save in the form from before PyTorch 1.6")
    load(), load()
    tensors: dict[str, _Tensor] = load()
    storages: dict[str, int] = {}
    dtypes = dict(tensor.storage for tensor in tensors.values())
    for key in load():
        count = int.from_bytes(file.read(8), "little")
        storages[key] = file.tell()
        file.seek(count * dtypes[key].itemsize, io.SEEK_CUR)
    return {name: _array(content, storages, tensor) for name, tensor in tensors.items()}


def _array(content: bytes, storages: Mapping[str, int], tensor: _Tensor) -> npt.NDArray[Any]:
    key, dtype = tensor.storage
    start = storages[key] + tensor.offset * dtype.itemsize
    strides = [stride * dtype.itemsize for stride in tensor.strides]
    return np.ndarray(tensor.shape, dtype, content, start, strides)
