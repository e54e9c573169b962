"""ModelInferRequest and ModelInferResponse of the Open Inference Protocol."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from inference_server.models.encodings.arrays import (
    DTYPES,
    Array,
    Given,
    from_raw,
    narrowed,
    objects,
    to_raw,
    wrong,
)
from inference_server.models.encodings.forms import Answered, Inference
from inference_server.models.encodings.wire import prefix, take
from protos.oip import message_class
from utils.errors import InvalidInput, MalformedRequest, shown

_INPUTS, _RAW_INPUTS = 5, 7
"""Numbers of fields of ModelInferRequest: inputs, raw_input_contents."""
_OTHERS = (1, 2, 3, 4, 6)
_CONTENTS_OF_INPUT, _OTHERS_OF_INPUT = 5, (1, 2, 3, 4)
"""Of InferInputTensor: contents, and all else."""
_RAW_OUTPUTS = 6
"""Of ModelInferResponse: raw_output_contents."""
_LONGEST_HEAD = 1024**2
"""Bytes of a request beside the contents of its inputs; parsed they may take several times as many."""
_INT64 = 8
"""Bytes of the widest whole numbers."""

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field of InferTensorContents that holds the elements of a datatype; FP16 and BF16 have none."""


def parsed(head: bytes) -> Any:  # noqa: ANN401 - a ModelInferRequest
    """A request of its serialized fields, but for its inputs.

    Raises:
        MalformedRequest: They are not those of a request, or too long.
    """
    _check_size(len(head))
    return _parsed(message_class("ModelInferRequest"), head)


def _check_size(size: int) -> None:
    if size > _LONGEST_HEAD:
        raise MalformedRequest(
            f"The request has {size} bytes or more beside the contents of its inputs; the limit is "
            f"{_LONGEST_HEAD}."
        )


def _parsed(kind: Any, content: bytes) -> Any:  # noqa: ANN401 - a class, and a message of it
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise MalformedRequest("The bytes are no message ModelInferRequest of protobuf.") from error


def parameters_of(message: Any) -> dict[str, Any]:  # noqa: ANN401 - what has parameters
    """The values of a message's parameters by name."""
    return {
        name: getattr(one, one.WhichOneof("parameter_choice") or "", None)
        for name, one in message.parameters.items()
    }


def read(payload: bytes, _parameters: bytes, model: str) -> tuple[Inference, Iterator[Given]]:
    """What a serialized request says, and its tensors, each of which is read when it is asked for.

    Raises:
        MalformedRequest: It is no such message.
        InvalidInput: Some of its contents are raw, and others are not.
    """
    head, parts = take(payload, _OTHERS, (_INPUTS, _RAW_INPUTS))
    request = parsed(head)
    outputs = [(one.name, parameters_of(one)) for one in request.outputs]
    given = _given(parts[_INPUTS], parts[_RAW_INPUTS], len(head), model)
    return Inference(request.id, parameters_of(request), outputs), given


def _given(
    inputs: Sequence[memoryview], raws: Sequence[memoryview], size: int, model: str
) -> Iterator[Given]:
    are_counted = len(raws) in {0, len(inputs)}
    for number, serialized in enumerate(inputs):
        # Contents are parsed once they are known to fit.
        head, contents = take(serialized, _OTHERS_OF_INPUT, (_CONTENTS_OF_INPUT,))
        size += len(head)
        _check_size(size)
        one = _parsed(message_class("ModelInferRequest").InferInputTensor, head)
        name, datatype, typed = one.name, one.datatype, contents[_CONTENTS_OF_INPUT]
        if "shared_memory_region" in one.parameters:
            raise wrong(name, "is in shared memory; accepted: contents in the request")
        if raws and typed:
            raise InvalidInput(
                "contents field must not be specified when using raw_input_contents for "
                f"'{shown(name)}' for model '{model}'",
                field=shown(name),
            )
        if not are_counted:
            continue  # of an input with contents of its own that is told first, as Triton does
        if raws:
            yield Given(name, datatype, one.shape, partial(from_raw, name, datatype, raws[number]))
        else:
            yield Given(name, datatype, one.shape, partial(_typed, name, datatype, typed))
    if not are_counted:
        raise InvalidInput(
            f"There are {len(raws)} raw_input_contents for {len(inputs)} inputs; accepted: one for each",
            field="raw_input_contents",
        )


def _typed(name: str, datatype: str, contents: Sequence[memoryview], count: int) -> Array:
    """The elements in the field of the tensor's datatype."""
    kind = message_class("InferTensorContents")
    field = _CONTENTS.get(datatype)
    if field is None:
        raise wrong(name, f"is of type {datatype}; accepted: its contents in raw_input_contents")
    number = kind.DESCRIPTOR.fields_by_name[field].number
    # The others may be large, and are of no use.
    content, _ = take(b"".join(contents), (number,))
    values = getattr(_parsed(kind, content), field)
    if datatype == "BYTES":
        return objects(name, values, count)
    if len(values) != count:
        raise wrong(name, f"has {len(values)} elements in {field}; accepted for its shape: {count}")
    dtype = DTYPES[datatype]
    if dtype.kind in "iu" and dtype.itemsize < _INT64:
        return narrowed(name, datatype, np.array(values, np.int64))
    return np.array(values, dtype)


def write(model: str, version: str, request_id: str, outputs: Sequence[Answered]) -> bytes:
    """A serialized answer, whose contents are raw."""
    head = message_class("ModelInferResponse")(model_name=model, model_version=version, id=request_id)
    parts: list[Any] = [b""]
    for one in outputs:
        head.outputs.add(name=one.name, datatype=one.datatype, shape=one.array.shape)
        content = to_raw(one.array)
        parts += [prefix(_RAW_OUTPUTS, len(content)), content]
    parts[0] = head.SerializeToString()
    return b"".join(parts)
