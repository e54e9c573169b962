"""A path and two schemas for each version of a model whose schemas are known."""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.openapi.elements import BINARY, JSON, MULTIPART, Element, body, media, operation, schema
from gateway.openapi.models import TAG, predicted
from utils.models import ModelDescription

_ROOT = "#"


def with_models(document: Element, models: Iterable[ModelDescription]) -> Element:
    """The document with these models, too."""
    paths: dict[str, Element] = {}
    schemas: dict[str, Element] = {}
    for model in models:
        if model.input_schema is not None and model.output_schema is not None:
            name = _component(model)
            schemas |= _schemas(name, model, model.input_schema, model.output_schema)
            path = f"{model.name}/{model.version}"
            paths[f"/models/{path}/predict"] = {"post": _operation(path, name, model)}
            if model.default:
                paths[f"/models/{model.name}/predict"] = {"post": _operation(model.name, name, model)}
    components = document["components"]
    return document | {
        "paths": document["paths"] | paths,
        "components": components | {"schemas": components["schemas"] | schemas},
    }


def _component(model: ModelDescription) -> str:
    """How the names of its schemas begin; those of no other version do, for versions begin with a digit."""
    return f"{model.name.replace('.', '..')}.{model.version}"


def _schemas(
    name: str, model: ModelDescription, of_input: Mapping[str, Any], of_answer: Mapping[str, Any]
) -> dict[str, Element]:
    made = {
        f"{name}.input": _moved(of_input, f"{name}.input"),
        f"{name}.answer": _moved(of_answer, f"{name}.answer"),
    }
    if "multipart" in model.operations:
        made[f"{name}.form"] = _with_files(made[f"{name}.input"])
    return made


def _moved(value: Any, name: str) -> Any:  # noqa: ANN401 - any JSON
    """A schema as the component of this name: what it refers to within itself is there now."""
    if isinstance(value, Mapping):
        moved = {key: _moved(member, name) for key, member in value.items()}
        target = moved.get("$ref")
        if isinstance(target, str) and target.startswith(_ROOT):
            moved["$ref"] = f"{schema(name)['$ref']}{target.removeprefix(_ROOT)}"
        return moved
    return [_moved(member, name) for member in value] if isinstance(value, list | tuple) else value


def _with_files(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """A schema as that of a form, where bytes are parts as they are."""
    if isinstance(value, Mapping):
        if value.get("contentEncoding") == "base64":
            return BINARY | {key: one for key, one in value.items() if key != "contentEncoding"}
        return {key: _with_files(member) for key, member in value.items()}
    return [_with_files(member) for member in value] if isinstance(value, list) else value


def _operation(path: str, name: str, model: ModelDescription) -> Element:
    content = {JSON: schema(f"{name}.input")}
    if "multipart" in model.operations:
        content[MULTIPART] = schema(f"{name}.form")
    return operation(
        f"predict/{path}",
        TAG,
        f"Have {model.display_name or model.name} answer one input",
        predicted(schema(f"{name}.answer")),
        request=body(media(content), "An input."),
        description=model.description,
    )
