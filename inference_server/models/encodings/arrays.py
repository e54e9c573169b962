"""Tensors of the Open Inference Protocol as NumPy's arrays, checked against what a model takes.

Those of BYTES are arrays of bytes objects. BF16, which NumPy does not have, is two bytes an element.
"""

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inference_server.models.encodings.tensors import TensorInterface, TensorSpec
from utils.errors import InvalidInput, shown

Array = npt.NDArray[Any]
Buffer = bytes | memoryview

DTYPES: Mapping[str, np.dtype[Any]] = {
    name: np.dtype(code)
    for name, code in {
        "BOOL": "?",
        "UINT8": "<u1",
        "UINT16": "<u2",
        "UINT32": "<u4",
        "UINT64": "<u8",
        "INT8": "<i1",
        "INT16": "<i2",
        "INT32": "<i4",
        "INT64": "<i8",
        "FP16": "<f2",
        "BF16": "<u2",
        "FP32": "<f4",
        "FP64": "<f8",
        "BYTES": "O",
    }.items()
}
"""The datatypes of the protocol."""

_LENGTH = struct.Struct("<I")
_SHOWN_DIMENSIONS = 8
_MOST_ELEMENTS = 1 << 28
"""As many as the largest request that can be allowed has bytes; dimensions that are 0 do not count."""


@dataclass(frozen=True, slots=True)
class Given:
    """A tensor of a request.

    Attributes:
        name, datatype, shape: As the request has them.
        content: Gives so many elements of it, flat. Raises InvalidInput where there are more or fewer.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    content: Callable[[int], Array]


def checked(interface: TensorInterface, given: Iterable[Given]) -> dict[str, Array]:
    """The tensors of a request by name, each as the model takes it.

    Raises:
        InvalidInput: One is unknown, missing, there twice, or of another datatype, shape or length; the field
            names it.
    """
    specs = {spec.name: spec for spec in interface.inputs}
    arrays: dict[str, Array] = {}
    for one in given:
        spec = specs.get(one.name)
        if spec is None:
            raise wrong(one.name, f"is no input of the model; it takes {', '.join(specs)}")
        if one.name in arrays:
            raise wrong(one.name, "is there twice; accepted: once")
        _check_shape(spec, one, batched=interface.batched)
        if interface.most_items and one.shape[0] > interface.most_items:
            raise wrong(one.name, f"has {one.shape[0]} items; accepted: {interface.most_items} at most")
        arrays[one.name] = one.content(math.prod(one.shape)).reshape(one.shape)
    for spec in interface.inputs:
        if spec.required and spec.name not in arrays:
            raise wrong(spec.name, f"is missing; the model takes {', '.join(specs)}")
    if interface.batched and arrays:
        _check_batch(arrays)
    return arrays


def _check_shape(spec: TensorSpec, given: Given, *, batched: bool) -> None:
    if given.datatype != spec.datatype:
        raise wrong(spec.name, f"is of type {shown(given.datatype)}; accepted: {spec.datatype}")
    least = [1 if batched and not place else 0 for place in range(len(spec.shape))]
    if len(given.shape) != len(spec.shape) or not all(
        length >= low if fixed < 0 else length == fixed
        for length, fixed, low in zip(given.shape, spec.shape, least, strict=True)
    ):
        came = ", ".join(map(str, given.shape[:_SHOWN_DIMENSIONS]))
        more = ", ..." if len(given.shape) > _SHOWN_DIMENSIONS else ""
        raise wrong(spec.name, f"has the shape [{came}{more}]; accepted: {list(spec.shape)}, -1 for any")
    if math.prod(length or 1 for length in given.shape) > _MOST_ELEMENTS:
        raise wrong(spec.name, f"has the shape {[*given.shape]}; accepted: {_MOST_ELEMENTS} elements at most")


def _check_batch(arrays: Mapping[str, Array]) -> None:
    (first, count), *others = ((name, len(array)) for name, array in arrays.items())
    for name, length in others:
        if length != count:
            raise wrong(name, f"has {length} items, and {first} {count}; accepted: the same number")


def wrong(name: str, what: str) -> InvalidInput:
    """The error of a tensor."""
    return InvalidInput(f"{shown(name)} {what}", field=shown(name))


# --- raw ---


def from_raw(name: str, datatype: str, buffer: Buffer, count: int) -> Array:
    """So many elements in the protocol's binary form, within the buffer where they can be read there.

    Raises:
        InvalidInput: It has more or fewer.
    """
    if datatype == "BYTES":
        return _texts(name, buffer, count)
    dtype = DTYPES[datatype]
    if len(buffer) != count * dtype.itemsize:
        raise wrong(
            name, f"has {len(buffer)} bytes; accepted for its shape and type: {count * dtype.itemsize}"
        )
    array: Array = np.frombuffer(buffer, dtype)
    return array if array.flags.aligned else array.copy()


def _texts(name: str, buffer: Buffer, count: int) -> Array:
    elements: list[bytes] = []
    place = 0
    while place < len(buffer) and len(elements) <= count:
        start = place + _LENGTH.size
        if start > len(buffer):
            raise wrong(name, f"ends within the length of element {len(elements)}")
        place = start + _LENGTH.unpack_from(buffer, place)[0]
        if place > len(buffer):
            raise wrong(
                name,
                f"has {len(buffer) - start} bytes for element {len(elements)}, whose length is "
                f"{place - start}",
            )
        elements.append(bytes(buffer[start:place]))
    return objects(name, elements, count)


def objects(name: str, elements: Sequence[bytes], count: int) -> Array:
    """An array of so many bytes objects.

    Raises:
        InvalidInput: They are more or fewer.
    """
    if len(elements) != count:
        more = "more" if len(elements) > count else len(elements)
        raise wrong(name, f"has {more} elements; accepted for its shape: {count}")
    array: Array = np.empty(count, object)
    array[:] = elements
    return array


def narrowed(name: str, datatype: str, numbers: Array) -> Array:
    """Whole numbers as those of a datatype.

    Raises:
        InvalidInput: One is out of its range.
    """
    limits = np.iinfo(DTYPES[datatype])
    if numbers.size and (numbers.min() < limits.min or numbers.max() > limits.max):
        raise wrong(name, f"has a number out of the range of {datatype}")
    return numbers.astype(DTYPES[datatype])


def to_raw(array: Array) -> Buffer:
    """The elements in the protocol's binary form."""
    if array.dtype == object:
        return b"".join(part for one in array.ravel() for part in (_LENGTH.pack(len(one)), one))
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.astype(flat.dtype.newbyteorder("<"), copy=False).view(np.uint8).data


# --- answers ---


def answered(spec: TensorSpec, values: Any) -> Array:  # noqa: ANN401 - an array, or nested lists
    """The array of an output, in its datatype.

    Raises:
        InvalidInput: Rows differ in length.
        ValueError: A number is too large for the datatype.
    """
    if isinstance(values, np.ndarray):
        return values
    if len(spec.shape) > 1 and len({len(row) for row in values}) > 1:
        raise wrong(
            spec.name,
            "has rows of different lengths for these items, which no tensor can have; accepted: one item a "
            "request",
        )
    dtype = DTYPES[spec.datatype]
    if spec.datatype == "BYTES":
        return _as_objects(values, len(spec.shape))
    if dtype.kind != "f":
        return np.array(values, dtype)
    with np.errstate(over="raise"):
        try:
            return np.array(values, np.float64).astype(dtype)
        except FloatingPointError as error:
            raise ValueError(f"{spec.name} has a number that is too large for {spec.datatype}") from error


def _as_objects(values: Sequence[Any], dimensions: int) -> Array:
    """An array of bytes objects, of texts or bytes in one list, or two."""
    shape = (len(values),) if dimensions == 1 else (len(values), len(values[0]))
    flat = values if dimensions == 1 else [one for row in values for one in row]
    array: Array = np.empty(len(flat), object)
    array[:] = [one.encode() if isinstance(one, str) else one for one in flat]
    return array.reshape(shape)


def classified(name: str, array: Array, most: int, *, batched: bool) -> Array:
    """The classification extension: the highest values of an item, as texts `value:index`, best first.

    Args:
        name: Of the output.
        array: It.
        most: How many of them.
        batched: Whether the first dimension of the array counts the items.

    Raises:
        InvalidInput: The output has no numbers, or `most` is below 1.
    """
    if array.dtype.kind not in "biuf":
        raise wrong(name, "has no numbers to classify")
    if most < 1:
        raise wrong(name, f"has the classification {most}; accepted: 1 or more")
    rows = array.reshape(len(array), -1) if batched and array.ndim else array.reshape(1, -1)
    order = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :most]
    made: Array = np.empty(order.shape, object)
    for row, places in enumerate(order):
        made[row] = [f"{float(rows[row, place]):f}:{place}".encode() for place in places.tolist()]
    return made if batched else made[0]
