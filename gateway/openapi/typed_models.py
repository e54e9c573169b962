"""A path and two schemas for each version of a model whose schemas are known."""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.openapi.elements import BINARY, JSON, MULTIPART, Element, body, media, operation, schema
from gateway.openapi.models import TAG, predicted
from utils.models import ModelDescription

_ROOT = "#"
_DEFINITIONS = "/$defs/"


def with_models(document: Element, models: Iterable[ModelDescription]) -> Element:
    """The document with these models, too."""
    paths: dict[str, Element] = {}
    schemas: dict[str, Element] = {}
    for model in models:
        if model.input_schema is not None and model.output_schema is not None:
            name = _component(model)
            schemas |= _schemas(name, model, model.input_schema, model.output_schema)
            path = f"/models/{model.name}"
            paths[f"{path}/{model.version}/predict"] = {"post": _operation(name, name, model)}
            if model.default:
                paths[f"{path}/predict"] = {"post": _operation(_escaped(model.name), name, model)}
    components = document["components"]
    return document | {
        "paths": document["paths"] | paths,
        "components": components | {"schemas": components["schemas"] | schemas},
    }


def _component(model: ModelDescription) -> str:
    """How the names of its schemas begin; those of no other version do, for versions begin with a digit."""
    return f"{_escaped(model.name)}.{model.version}"


def _escaped(name: str) -> str:
    return name.replace(".", "..")


def _schemas(
    name: str, model: ModelDescription, of_input: Mapping[str, Any], of_answer: Mapping[str, Any]
) -> dict[str, Element]:
    made = _components(f"{name}.input", of_input) | _components(f"{name}.answer", of_answer)
    if "multipart" in model.operations:
        made |= _components(f"{name}.form", _with_files(of_input))
    return made


def _components(name: str, described: Mapping[str, Any]) -> dict[str, Element]:
    """A schema as the component of this name, and its definitions as others.

    Programs that make clients look for definitions nowhere else. Titles are left out: such programs would
    name a type after each, and most are `Input` and `Output`.
    """
    moved = _moved(described, name)
    definitions = moved.pop("$defs", {})
    made = {name: moved} | {f"{name}.{one}": definition for one, definition in definitions.items()}
    return {
        one: {key: value for key, value in schema.items() if key != "title"} for one, schema in made.items()
    }


def _moved(value: Any, name: str) -> Any:  # noqa: ANN401 - any JSON
    """A schema as the component of this name: what it refers to within itself is there now."""
    if isinstance(value, Mapping):
        moved = {key: _moved(member, name) for key, member in value.items()}
        target = moved.get("$ref")
        if isinstance(target, str) and target.startswith(_ROOT):
            place = target.removeprefix(_ROOT).replace(_DEFINITIONS, ".", 1)
            moved["$ref"] = f"{schema(name)['$ref']}{place}"
        return moved
    return [_moved(member, name) for member in value] if isinstance(value, list | tuple) else value


def _with_files(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """A schema as that of a form, where bytes are parts as they are."""
    if isinstance(value, Mapping):
        if value.get("contentEncoding") == "base64":
            return BINARY | {key: one for key, one in value.items() if key != "contentEncoding"}
        return {key: _with_files(member) for key, member in value.items()}
    return [_with_files(member) for member in value] if isinstance(value, list) else value


def _operation(identifier: str, name: str, model: ModelDescription) -> Element:
    content = {JSON: schema(f"{name}.input")}
    if "multipart" in model.operations:
        content[MULTIPART] = schema(f"{name}.form")
    return operation(
        f"predict_{identifier}",
        TAG,
        f"Have {model.display_name or model.name} answer one input",
        predicted(schema(f"{name}.answer")),
        request=body(media(content), "An input."),
        description=model.description,
    )
