"""The paths of TorchServe's inference API as an OpenAPI document."""

from typing import Any

_ERROR = {
    "description": "Why there is no answer.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["code", "type", "message"],
                "properties": {
                    "code": {"type": "integer"},
                    "type": {"type": "string"},
                    "message": {"type": "string"},
                },
            }
        }
    },
}
_STATUS = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["status"],
            "properties": {"status": {"type": "string", "enum": ["Healthy", "Unhealthy"]}},
        }
    }
}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_NAME = {"in": "query", "name": "model_name", "required": False, "schema": {"type": "string"}}


def _in_path(name: str) -> dict[str, Any]:
    return {"in": "path", "name": name, "required": True, "schema": {"type": "string"}}


def _answered(content: dict[str, Any], **others: Any) -> dict[str, Any]:  # noqa: ANN401 - of OpenAPI
    return {"200": {"description": "The answer.", "content": content}, **others}


def _prediction(operation: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    """A path that takes an input: the body as it is, or a form whose parts are the model's members."""

    def by(method: str) -> dict[str, Any]:
        return {
            "operationId": operation if method == "post" else f"{operation}_{method}",
            "parameters": [*parameters],
            "requestBody": {"required": True, "content": {"*/*": _BYTES}},
            "responses": _answered({"*/*": _BYTES}, default=_ERROR),
        }

    return {method: by(method) for method in ("post", "put")}


def _query(operation: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": operation, "responses": responses}


_OBJECT = {"application/json": {"schema": {"type": "object"}}}
_UNHEALTHY = {"description": "No request can be answered now.", "content": _STATUS}

DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.1",
    "info": {"title": "Inference API of TorchServe, as Facet speaks it", "version": "1.0.0"},
    "paths": {
        "/": {"options": _query("apiDescription", _answered(_OBJECT))},
        "/api-description": {"get": _query("api-description", _answered(_OBJECT))},
        "/ping": {"get": _query("ping", _answered(_STATUS, **{"500": _UNHEALTHY}))},
        "/predictions/{model_name}": _prediction("predictions", _in_path("model_name")),
        "/predictions/{model_name}/{model_version}": _prediction(
            "version_predictions", _in_path("model_name"), _in_path("model_version")
        ),
        "/models/{model_name}/invoke": _prediction("invoke", _in_path("model_name")),
        "/invocations": _prediction("invocations", _NAME),
    },
}
