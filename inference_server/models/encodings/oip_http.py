"""Requests and answers of the Open Inference Protocol in JSON, behind which tensors may stand in binary form.

The parameters of a request are JSON, `{"header_length": N}` where the binary parts begin at the byte N; they
may be empty where there are none. An answer is four bytes with the length of its JSON, little-endian, then
the JSON and its binary parts.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import orjson
import pybase64

from inference_server.models.encodings.arrays import (
    DTYPES,
    Array,
    Given,
    from_raw,
    objects,
    to_raw,
    wrong,
)
from inference_server.models.encodings.forms import Answered, Inference
from utils.errors import InvalidInput, MalformedRequest, shown
from utils.json_names import refuse_repeated_names

_HEAD = struct.Struct("<I")


def read(payload: bytes, form: bytes, _model: str) -> tuple[Inference, Iterable[Given]]:
    """What the body of a request says, and its tensors.

    Raises:
        MalformedRequest: It is not as the protocol has it.
        InvalidInput: A tensor is not.
    """
    length = _header_length(form, len(payload))
    request = _object(payload[:length])
    identifier = _member(request, "id", str, "")
    parameters = _member(request, "parameters", dict, {})
    binary = _member(parameters, "binary_data_output", bool, False)
    asked = [
        (_member(one, "name", str), _member(one, "parameters", dict, {}))
        for one in _objects(request, "outputs", required=False)
    ]
    given = _given(_objects(request, "inputs", required=True), memoryview(payload)[length:])
    return Inference(identifier, parameters, asked, binary), given


def _header_length(form: bytes, size: int) -> int:
    """How many bytes of a body are JSON."""
    try:
        length = orjson.loads(form or b"{}").get("header_length")
    except (ValueError, AttributeError) as error:  # the latter of what is no object
        raise MalformedRequest("The parameters are no JSON object.", field="parameters") from error
    if length is None:
        return size
    if type(length) is not int or not 0 < length <= size:
        raise MalformedRequest(
            f"Inference-Header-Content-Length is {shown(str(length))}; accepted: 1 to the {size} bytes of "
            "the body",
            field="Inference-Header-Content-Length",
        )
    return length


def _object(text: bytes) -> dict[str, Any]:
    """The object that a request is."""
    try:
        request = orjson.loads(text)
        refuse_repeated_names(text)
    except ValueError as error:
        raise MalformedRequest(f"The request is not JSON: {error}") from error
    except RecursionError as error:
        raise MalformedRequest("The request is nested too deeply.") from error
    if not isinstance(request, dict):
        raise MalformedRequest("The request is no JSON object.")
    return request


def _member(values: Mapping[str, Any], name: str, kind: type, default: Any = None) -> Any:  # noqa: ANN401
    """A member of an object. One without a default must be there."""
    value = values.get(name, default)
    if type(value) is not kind:
        raise MalformedRequest(f"{name} is missing, or not of the type {_TYPES[kind]}.", field=name)
    return value


_TYPES = {str: "string", dict: "object", bool: "boolean", list: "array"}


def _objects(request: Mapping[str, Any], name: str, *, required: bool) -> list[dict[str, Any]]:
    found: list[Any] = _member(request, name, list, None if required else [])
    if not all(isinstance(one, dict) for one in found):
        raise MalformedRequest(f"{name} is no array of objects.", field=name)
    return found


def _given(inputs: Iterable[Mapping[str, Any]], binary: memoryview) -> Iterator[Given]:
    """The tensors, those in binary form in the order in which they stand."""
    place = 0
    for one in inputs:
        name, datatype = _member(one, "name", str), _member(one, "datatype", str)
        shape = _member(one, "shape", list)
        if not all(type(length) is int for length in shape):
            raise wrong(name, "has a shape that is no array of whole numbers")
        parameters = _member(one, "parameters", dict, {})
        if "shared_memory_region" in parameters:
            raise wrong(name, "is in shared memory; accepted: contents in the request")
        size = parameters.get("binary_data_size")
        if size is None:
            data = _member(one, "data", list)
            is_base64 = parameters.get("content_type") == "base64"
            yield Given(name, datatype, shape, partial(_from_json, name, datatype, data, is_base64))
            continue
        if "data" in one:
            raise wrong(name, "has data and binary_data_size; accepted: one of them")
        if type(size) is not int or not 0 <= size <= len(binary) - place:
            raise wrong(
                name,
                f"has the binary_data_size {shown(str(size))}; accepted: 0 to {len(binary) - place}, what is "
                "left of the body",
            )
        content = binary[place : place + size]
        place += size
        yield Given(name, datatype, shape, partial(from_raw, name, datatype, content))
    if place < len(binary):
        raise InvalidInput(f"{len(binary) - place} bytes of the body belong to no input", field="inputs")


def _from_json(name: str, datatype: str, data: list[Any], is_base64: bool, count: int) -> Array:
    """The elements of an array of JSON, which may be nested."""
    flat = [*_flat(data)]
    if datatype == "BYTES":
        return objects(name, [_element(name, one, is_base64) for one in flat], count)
    if datatype in {"FP16", "BF16"}:
        raise wrong(name, f"is of type {datatype}; accepted: its data in binary form")
    if len(flat) != count:
        raise wrong(name, f"has {len(flat)} elements; accepted for its shape: {count}")
    dtype = DTYPES[datatype]
    if not _KINDS[dtype.kind].issuperset(map(type, flat)):
        raise wrong(name, f"has data of another type than {datatype}")
    try:
        with np.errstate(over="raise"):
            return np.array(flat, dtype)
    except (OverflowError, FloatingPointError) as error:
        raise wrong(name, f"has a number out of the range of {datatype}") from error


_KINDS: Mapping[str, frozenset[type]] = {
    "b": frozenset({bool}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": frozenset({int, float}),
}
"""The types of Python for JSON that each kind takes."""


def _flat(data: Iterable[Any]) -> Iterator[Any]:
    """The elements of nested arrays."""
    levels = [iter(data)]
    while levels:
        for one in levels[-1]:
            if isinstance(one, list):
                levels.append(iter(one))
                break
            yield one
        else:
            levels.pop()


def _element(name: str, value: Any, is_base64: bool) -> bytes:  # noqa: ANN401
    if not isinstance(value, str):
        raise wrong(name, "has data of another type than BYTES, which are texts in JSON")
    if not is_base64:
        return value.encode()
    try:
        return pybase64.b64decode(value, validate=True)
    except ValueError as error:
        raise wrong(name, f"is not base64: {error}") from error


def write(model: str, version: str, request_id: str, outputs: Sequence[Answered]) -> bytes:
    """An answer.

    Raises:
        InvalidInput: JSON cannot have what an output has.
    """
    described: list[dict[str, Any]] = []
    parts: list[Any] = []
    for one in outputs:
        tensor: dict[str, Any] = {"name": one.name, "datatype": one.datatype, "shape": [*one.array.shape]}
        if one.binary:
            parts.append(to_raw(one.array))
            tensor["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            tensor["data"] = _to_json(one)
        described.append(tensor)
    answer = {"model_name": model, "model_version": version, "outputs": described}
    head = orjson.dumps({**answer, "id": request_id} if request_id else answer)
    return b"".join([_HEAD.pack(len(head)), head, *parts])


def _to_json(output: Answered) -> list[Any]:
    flat = output.array.reshape(-1)
    if output.datatype == "BYTES":
        try:
            return [one.decode() for one in flat]
        except UnicodeDecodeError as error:
            raise wrong(output.name, "is no text; accepted: asking for it with binary_data") from error
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        raise wrong(output.name, "has a number that is not finite; accepted: asking for it with binary_data")
    values: list[Any] = flat.tolist()
    return values
