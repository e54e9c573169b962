"""Requests and answers of the Open Inference Protocol, written and read without the code that is tested."""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from protos.oip import message_class

SERVICE = "inference.GRPCInferenceService"

Array = npt.NDArray[Any]

DTYPES = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
"""All but BYTES, and BF16, which NumPy does not have."""


def raw(datatype: str, values: Any) -> bytes:  # noqa: ANN401 - numbers, or bytes, in lists
    """The elements in binary form."""
    if datatype == "BYTES":
        flat = np.array(values, object).ravel().tolist()
        return b"".join(struct.pack("<I", len(one)) + one for one in flat)
    return np.array(values, DTYPES[datatype]).tobytes()


def tensor(name: str, datatype: str, shape: Sequence[int], **contents: Any) -> Any:  # noqa: ANN401
    """An input; with its contents by the name of their field, where they are not raw."""
    made = message_class("ModelInferRequest").InferInputTensor(name=name, datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(made.contents, field).extend(values)
    return made


def request(
    *inputs: Any,  # noqa: ANN401
    raws: Sequence[bytes] = (),
    outputs: Sequence[str | tuple[str, int]] = (),
    **values: Any,  # noqa: ANN401
) -> bytes:
    """A serialized request.

    Args:
        inputs: As `tensor` makes them.
        raws: Their raw contents.
        outputs: Names; with a number for the classification of so many.
        **values: Other fields of the message.
    """
    made = message_class("ModelInferRequest")(inputs=inputs, raw_input_contents=raws, **values)
    for one in outputs:
        name, classes = (one, None) if isinstance(one, str) else one
        asked = made.outputs.add(name=name)
        if classes is not None:
            asked.parameters["classification"].int64_param = classes
    content: bytes = made.SerializeToString()
    return content


def answered(content: bytes) -> dict[str, Any]:
    """The outputs of a serialized answer by name, as nested lists."""
    answer = message_class("ModelInferResponse").FromString(content)
    assert len(answer.raw_output_contents) == len(answer.outputs)
    return {
        one.name: elements(one.datatype, one.shape, content)
        for one, content in zip(answer.outputs, answer.raw_output_contents, strict=True)
        if not one.HasField("contents")
    }


def elements(datatype: str, shape: Sequence[int], content: bytes) -> Any:  # noqa: ANN401
    """A tensor of its binary form, as nested lists."""
    if datatype != "BYTES":
        return np.frombuffer(content, DTYPES[datatype]).reshape(shape).tolist()
    found, place = [], 0
    while place < len(content):
        [length] = struct.unpack_from("<I", content, place)
        found.append(content[place + 4 : place + 4 + length])
        place += 4 + length
    made: Array = np.empty(len(found), object)
    made[:] = found
    return made.reshape(shape).tolist()


def body(document: Mapping[str, Any], *binary: bytes) -> tuple[bytes, bytes]:
    """The body of a request over HTTP, and the parameters of its operation."""
    head = json.dumps(document).encode()
    parameters = json.dumps({"header_length": len(head)}).encode() if binary else b""
    return head + b"".join(binary), parameters


def document(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON of an answer over HTTP, and what stands behind it."""
    [length] = struct.unpack_from("<I", content)
    return json.loads(content[4 : 4 + length]), content[4 + length :]
