"""For each key that a config.pbtxt can have: whether it is taken, ignored or refused, and why.

What decides how clients call a model, what it computes or in which order is refused where Facet cannot do it;
what decides where or how fast it is computed is ignored.
"""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Final, Literal

from utils.errors import shown

Judgement = tuple[Literal["taken", "ignored", "refused"], str]
Rule = Judgement | Callable[[Any], Judgement]

_KIND_GPU: Final = 1
_NO_LIBRARIES: Final = "Facet loads no libraries of models"
MOST_ITEMS: Final = 64
"""Most items that Facet computes at once."""


def _only(accepted: str) -> Rule:
    """Of a text: one value is accepted, and none, as where a configuration was written by a program."""

    def judge(value: str) -> Judgement:
        if value in {"", accepted}:
            return "taken", 'kind = "onnx"'
        return "refused", f"it is {shown(repr(value))}; accepted: {accepted}"

    return judge


def _runtime(value: str) -> Judgement:
    if value in {"", "libtriton_onnxruntime.so"}:
        return "ignored", "Facet has an ONNX Runtime of its own"
    return "refused", _NO_LIBRARIES


def _unless(reason: str) -> Rule:
    """Of a flag: false is what Facet does anyway."""
    return lambda value: ("refused", reason) if value else ("taken", "false")


def _max_batch_size(value: int) -> Judgement:
    if value < 0:
        return "refused", f"it is {value}; accepted: 0 or more"
    if value == 0:
        return "taken", "batched = false"
    if value == 1:
        return "taken", "the first dimension is the batch's, of as many items as Facet computes at once"
    return "taken", f"max_batch = {min(value, MOST_ITEMS)}"


def _file_name(value: str) -> Judgement:
    path = PurePosixPath(value)
    if not value.isprintable() or path.is_absolute() or ".." in path.parts:
        return "refused", f"it is {shown(repr(value))}; accepted: a file in the version's folder"
    return "taken", "file"


def _instance_kind(value: int) -> Judgement:
    if value == _KIND_GPU:
        return "ignored", "models are computed on CPUs"
    return "taken", "models are computed on CPUs"


_GRAPH: Final = ("taken", "as in the ONNX file")
_RESHAPE: Final = ("refused", "Facet reshapes no tensors: say the ONNX file's own dimensions in dims")
_TENSOR_RT: Final = "it is for TensorRT"
_PRIORITY: Final = ("refused", "requests have no priorities: the oldest is computed first")
_GPU: Final = ("ignored", "models are computed on CPUs")

RULES: Final[Mapping[str, Rule]] = {
    "name": ("taken", "the model's name"),
    "platform": _only("onnxruntime_onnx"),
    "backend": _only("onnxruntime"),
    "runtime": _runtime,
    "version_policy": ("taken", "which versions are imported"),
    "max_batch_size": _max_batch_size,
    "input.name": _GRAPH,
    "input.data_type": _GRAPH,
    "input.format": ("ignored", "dims say where the channels are"),
    "input.dims": _GRAPH,
    "input.reshape": _RESHAPE,
    "input.is_shape_tensor": _unless(_TENSOR_RT),
    "input.allow_ragged_batch": _unless("a batch has items of one shape"),
    "input.optional": _unless("a request has all inputs of an ONNX file"),
    "input.is_non_linear_format_io": _unless(_TENSOR_RT),
    "output.name": _GRAPH,
    "output.data_type": _GRAPH,
    "output.dims": _GRAPH,
    "output.reshape": _RESHAPE,
    "output.label_filename": ("ignored", "the classification extension answers with indices alone"),
    "output.is_shape_tensor": _unless(_TENSOR_RT),
    "output.is_non_linear_format_io": _unless(_TENSOR_RT),
    "batch_input": ("refused", "there are no inputs but those of a request"),
    "batch_output": ("refused", "the first dimension of an output is the batch's"),
    "optimization": ("ignored", "ONNX Runtime's CPU provider, with one thread for each process"),
    "dynamic_batching.preferred_batch_size": ("ignored", "what waits is computed at once, up to max_batch"),
    "dynamic_batching.max_queue_delay_microseconds": lambda value: (
        "taken",
        f"max_batch_delay = {value / 1e6:.9g}",
    ),
    "dynamic_batching.preserve_ordering": ("ignored", "the answers of a stream are in order anyway"),
    "dynamic_batching.priority_levels": _PRIORITY,
    "dynamic_batching.default_priority_level": _PRIORITY,
    "dynamic_batching.default_queue_policy": (
        "ignored",
        "requests have deadlines, and FACET_QUEUE_SECONDS bounds their wait",
    ),
    "dynamic_batching.priority_queue_policy": _PRIORITY,
    "sequence_batching": ("refused", "requests do not belong to sequences"),
    "ensemble_scheduling": ("refused", "there are no ensembles: a Python model can call several networks"),
    "instance_group.name": ("ignored", "processes have no names"),
    "instance_group.kind": _instance_kind,
    "instance_group.count": ("taken", "counts in min_workers"),
    "instance_group.rate_limiter": ("ignored", "the number of processes is the limit"),
    "instance_group.gpus": _GPU,
    "instance_group.secondary_devices": _GPU,
    "instance_group.profile": _GPU,
    "instance_group.passive": _unless("each process computes requests"),
    "instance_group.host_policy": ("ignored", "the operating system places processes"),
    "default_model_filename": _file_name,
    "cc_model_filenames": _GPU,
    "metric_tags": ("ignored", "there are no metrics of a model"),
    "parameters": ("ignored", "they tune Triton's backend"),
    "model_warmup": ("ignored", "a process is ready when the model is loaded"),
    "model_operations": ("refused", _NO_LIBRARIES),
    "model_transaction_policy.decoupled": _unless("each request has one answer"),
    "model_repository_agents": ("refused", "no agents check or change files of the store"),
    "response_cache": ("ignored", "each request is computed"),
    "model_metrics": ("ignored", "there are no metrics of a model"),
}
"""By the path of a key without indices. A key that is none of these has parts that are."""
