"""The paths of the Open Inference Protocol."""

from gateway.openapi import failures
from gateway.openapi.elements import (
    BINARY,
    BYTES,
    JSON,
    Element,
    answer,
    array,
    body,
    in_path,
    media,
    operation,
    record,
    schema,
)
from gateway.openapi.models import NAME

_TAG = "open inference protocol"
_TEXT: Element = {"type": "string"}
_OBJECT: Element = {"type": "object"}
_TEXTS = array(_TEXT)
_SHAPE = array({"type": "integer"}, "-1 where any length is accepted.")
_VERSION = in_path("version", "Of the model; 1 is also 1.0.", pattern="^[!-.0-~]+$")
_LENGTH = "Inference-Header-Content-Length"
_LENGTH_HEADER: Element = {
    "description": "How many bytes of the body are JSON, where the rest is binary.",
    "schema": {"type": "integer", "minimum": 0},
}
_SMALL = media({JSON: _OBJECT})


def schemas() -> dict[str, Element]:
    """The objects of requests and answers."""
    told = {"error": {**_TEXT, "description": "As `detail`, where clients of the protocol look for it."}}
    return {
        "ProtocolProblem": {"allOf": [schema("Problem"), record(told)]},
        "ServerMetadata": record({"name": _TEXT, "version": _TEXT, "extensions": _TEXTS}),
        "ServerLive": record({"live": {"const": True}}),
        "ServerReady": record({"ready": {"const": True}}),
        "ModelReady": record({"name": _TEXT, "ready": {"const": True}}),
        "ModelMetadata": _metadata(),
        "ModelConfig": _config(),
        "ModelStatistics": record({"model_stats": array(_statistics())}),
        **_inference(),
        "RepositoryIndex": array(record({"name": _TEXT, "version": _TEXT, "state": _TEXT, "reason": _TEXT})),
        "Nothing": {"type": "object", "maxProperties": 0},
    }


def _metadata() -> Element:
    tensors = array(record({"name": _TEXT, "datatype": _TEXT, "shape": _SHAPE}))
    return record(
        {"name": _TEXT, "versions": _TEXTS, "platform": _TEXT, "inputs": tensors, "outputs": tensors}
    )


def _config() -> Element:
    tensors = array(record({"name": _TEXT, "data_type": _TEXT, "dims": _SHAPE, "optional": {}}, "optional"))
    size = {"type": "integer", "minimum": 0}
    names = {"name": _TEXT, "platform": _TEXT, "backend": _TEXT}
    return record({**names, "max_batch_size": size, "input": tensors, "output": tensors})


def _inference() -> dict[str, Element]:
    """A request and its answer."""
    data = array({}, "Elements in row-major order, flat or nested.")
    tensor = {"name": _TEXT, "datatype": _TEXT, "shape": _SHAPE, "parameters": _OBJECT, "data": data}
    tensors = array(record(tensor, "parameters", "data"))
    requested = array(record({"name": _TEXT, "parameters": _OBJECT}, "parameters"))
    asked = {"id": _TEXT, "parameters": _OBJECT, "inputs": tensors, "outputs": requested}
    answered = {"model_name": _TEXT, "model_version": _TEXT, "id": _TEXT, "parameters": _OBJECT}
    return {
        "InferRequest": record(asked, "id", "parameters", "outputs"),
        "InferAnswer": record({**answered, "outputs": tensors}, "id", "parameters"),
    }


def _statistics() -> Element:
    number: Element = {"type": "integer", "minimum": 0}
    stages = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
    times = record(dict.fromkeys(stages, record({"count": number, "ns": number})), "compute_output")
    counted = {"inference_count": number, "execution_count": number, "inference_stats": times}
    return record({"name": _TEXT, "version": _TEXT, **counted})


def paths() -> dict[str, Element]:
    """Each path and its methods."""
    ready = failures.PROTOCOL_READINESS
    made = {
        "/v2": _get("serverMetadata", "Name the server", "ServerMetadata", failures.PROTOCOL_CATALOGUE),
        "/v2/models/stats": _get(
            "statistics", "What was counted of all models", "ModelStatistics", failures.PROTOCOL_CATALOGUE
        ),
        "/v2/health/live": _get(
            "serverLive", "Whether this process lives", "ServerLive", failures.PROTOCOL_ANY
        ),
        "/v2/health/ready": _get("serverReady", "Whether requests may be sent here", "ServerReady", ready),
        "/v2/repository/index": {
            "post": operation(
                "repositoryIndex",
                _TAG,
                "List the models",
                _answers("RepositoryIndex", failures.PROTOCOL_CATALOGUE),
                request=body(
                    media({JSON: {"type": "object", "properties": {"ready": {"type": ["boolean", "null"]}}}}),
                    "With `ready` those that are.",
                    required=False,
                ),
            )
        },
    }
    for action in ("load", "unload"):
        made[f"/v2/repository/models/{{name}}/{action}"] = {
            "post": operation(
                f"{action}Model",
                _TAG,
                f"{action.capitalize()} a model, where FACET_MODEL_API lets callers",
                _answers("Nothing", failures.PROTOCOL_CHANGE),
                parameters=[NAME],
                request=body(_SMALL, "Parameters, which are refused.", required=False),
            )
        }
    for suffix, of_version, parameters in (
        ("", "", [NAME]),
        ("/versions/{version}", "Version", [NAME, _VERSION]),
    ):
        made |= _of_model(f"/v2/models/{{name}}{suffix}", of_version, parameters)
    return made


def _of_model(path: str, of_version: str, parameters: list[Element]) -> dict[str, Element]:
    told = failures.PROTOCOL_MODEL
    inferred = answer(
        "The outputs.",
        {JSON: schema("InferAnswer"), BYTES: BINARY},
        Inference_Header_Content_Length=_LENGTH_HEADER,
    )
    length = {"name": _LENGTH, "in": "header", **_LENGTH_HEADER}
    return {
        path: _get(f"modelMetadata{of_version}", "Describe a model", "ModelMetadata", told, *parameters),
        f"{path}/ready": _get(
            f"modelReady{of_version}", "Whether a model serves", "ModelReady", told, *parameters
        ),
        f"{path}/config": _get(
            f"modelConfig{of_version}", "Describe a model as Triton does", "ModelConfig", told, *parameters
        ),
        f"{path}/stats": _get(
            f"modelStatistics{of_version}",
            "What was counted of it",
            "ModelStatistics",
            told,
            *parameters,
        ),
        f"{path}/infer": {
            "post": operation(
                f"infer{of_version}",
                _TAG,
                "Have a model answer tensors",
                {"200": inferred, **failures.PROTOCOL_PREDICTION.answers()},
                parameters=[*parameters, length],
                request=body(
                    media({JSON: schema("InferRequest"), BYTES: BINARY}), "JSON, behind it binary contents."
                ),
            )
        },
    }


def _answers(name: str, group: failures.Failures) -> dict[str, Element]:
    return {"200": answer("The answer.", {JSON: schema(name)}), **group.answers()}


def _get(identifier: str, summary: str, name: str, group: failures.Failures, *parameters: Element) -> Element:
    return {"get": operation(identifier, _TAG, summary, _answers(name, group), parameters=parameters)}
