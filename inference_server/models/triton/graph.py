"""Compares the inputs and outputs of a configuration with those of the ONNX file."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from inference_server.models.encodings.tensors import TensorInterface, TensorSpec

_DATATYPES: Final[Mapping[str, str]] = {"STRING": "BYTES"}
"""Those that the configuration calls otherwise than requests do."""


def differences(config: Any, tensors: TensorInterface) -> dict[str, str]:  # noqa: ANN401 - made at run time
    """What is not in the ONNX file as the configuration says: by the key, why.

    A dimension that varies in the file may have a length in the configuration. The outputs of the
    configuration may be fewer than those of the file; without inputs or outputs it leaves them to the file.
    """
    if config.max_batch_size > 0 and not tensors.batched:
        reason = "the ONNX file has no batch dimension: the first one of each input and output must vary"
        return {"max_batch_size": reason}
    batch = (-1,) if tensors.batched else ()
    found = dict(_of("input", config.input, tensors.inputs, batch))
    found |= dict(_of("output", config.output, tensors.outputs, batch))
    missing = {one.name for one in tensors.inputs} - {one.name for one in config.input}
    if config.input and missing:
        found["input"] = f"the ONNX file needs {', '.join(sorted(missing))}, too"
    return found


def _of(
    key: str,
    declared: Sequence[Any],
    there: Sequence[TensorSpec],
    batch: tuple[int, ...],
) -> Iterator[tuple[str, str]]:
    by_name = {one.name: one for one in there}
    for number, one in enumerate(declared):
        path, spec = f"{key}[{number}]", by_name.get(one.name)
        if spec is None:
            yield f"{path}.name", f"the ONNX file has {', '.join(by_name)}"
            continue
        datatype = _datatype(one)
        if datatype != spec.datatype:
            yield f"{path}.data_type", f"{one.name} is {spec.datatype} in the ONNX file"
        shape = (*batch, *one.dims)
        if not _fits(shape, spec.shape):
            yield f"{path}.dims", f"{one.name} has {[*spec.shape]} in the ONNX file, and here {[*shape]}"


def _datatype(declared: Any) -> str:  # noqa: ANN401 - a ModelInput or a ModelOutput
    """The type as requests name it."""
    types = declared.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number
    name: str = types[declared.data_type].name.removeprefix("TYPE_")
    return _DATATYPES.get(name, name)


def _fits(shape: Sequence[int], graph: Sequence[int]) -> bool:
    return len(shape) == len(graph) and all(
        given == length or (length == -1 and given > 0) for given, length in zip(shape, graph, strict=True)
    )
