"""The paths of TorchServe's management API as an OpenAPI document."""

from typing import Any

_ERROR = {
    "description": "Why it was not done.",
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
_TEXT, _WHOLE, _FLAG = "string", "integer", "boolean"


def _method(operation: str, answer: str, *in_path: str, **in_query: str) -> dict[str, Any]:
    """One method of a path.

    Args:
        operation: What it is called.
        answer: The type of its answer.
        in_path: Names of the parameters in the path.
        in_query: Types of those in the query, by their names.
    """
    parameters = [
        {"in": "path", "name": name, "required": True, "schema": {"type": _TEXT}} for name in in_path
    ]
    parameters += [
        {"in": "query", "name": name, "required": False, "schema": {"type": kind}}
        for name, kind in in_query.items()
    ]
    content = {"application/json": {"schema": {"type": answer}}}
    responses = {"2XX": {"description": "The answer.", "content": content}, "default": _ERROR}
    return {"operationId": operation, "parameters": parameters, "responses": responses}


def _model(suffix: str, *in_path: str) -> dict[str, Any]:
    version = {} if "model_version" in in_path else {"model_version": _TEXT}
    bounds = {"min_worker": _WHOLE, "max_worker": _WHOLE, "synchronous": _FLAG}
    return {
        "get": _method(f"describe{suffix}", "array", *in_path, customized=_FLAG),
        "put": _method(f"scale{suffix}", "object", *in_path, **bounds, **version),
        "delete": _method(f"unregister{suffix}", "object", *in_path),
    }


API = {
    "openapi": "3.0.1",
    "info": {"title": "TorchServe APIs", "version": "1.0.0"},
    "paths": {
        "/models": {
            "get": _method("listModels", "object", limit=_WHOLE, next_page_token=_WHOLE),
            "post": _method(
                "registerModel",
                "object",
                url=_TEXT,
                model_name=_TEXT,
                runtime=_TEXT,
                batch_size=_WHOLE,
                max_batch_delay=_WHOLE,
                response_timeout=_WHOLE,
                startup_timeout=_WHOLE,
                initial_workers=_WHOLE,
                synchronous=_FLAG,
            ),
        },
        "/models/{model_name}": _model("Model", "model_name"),
        "/models/{model_name}/{model_version}": _model("Version", "model_name", "model_version"),
        "/models/{model_name}/{model_version}/set-default": {
            "put": _method("setDefault", "object", "model_name", "model_version")
        },
        "/token": {"get": _method("renewKey", "string", type=_TEXT)},
    },
}
