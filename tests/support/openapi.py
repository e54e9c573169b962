"""An OpenAPI document as a judge of answers: whether each is one that the document describes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

Document = Mapping[str, Any]


def operations(document: Document) -> Iterator[tuple[str, str, Any]]:
    """Path, method and description of each."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def resolved(document: Document, element: Any) -> Any:  # noqa: ANN401
    """What a reference to a component means."""
    while "$ref" in element:
        found: Any = document
        for name in element["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        element = found
    return element


def described(document: Document, path: str, method: str, status: int) -> Any:  # noqa: ANN401
    """The answer of this status to a method of a path; a path as it is called, or with parameters."""
    paths = document["paths"]
    if path not in paths:
        path = next(known for known in paths if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", known), path))
    return resolved(document, paths[path][method.lower()]["responses"][str(status)])


def check(document: Document, schema: Any, value: Any) -> None:  # noqa: ANN401
    """Fail where a value is not as a schema of the document says."""
    whole = {**schema, "components": document["components"]}
    problems = [error.message for error in Draft202012Validator(whole).iter_errors(value)]
    assert not problems, problems


def check_answer(document: Document, path: str, method: str, response: TestResponse) -> None:
    """Fail where an answer is not one that the document has for a path, however that is written."""
    answer = described(document, path, method, response.status_code)
    for name, field in answer["headers"].items():
        if resolved(document, field).get("required"):
            assert name in response.headers
    check(document, answer["content"][response.content_type]["schema"], response.get_json())


def undescribed(document: Document, schema: Any, value: Any, path: str = "") -> list[str]:  # noqa: ANN401
    """Paths of the members of a value of which a schema says nothing."""
    schema = resolved(document, schema)
    if isinstance(value, list):
        items = enumerate(value)
        return [
            name for at, one in items for name in undescribed(document, schema["items"], one, f"{path}.{at}")
        ]
    if not isinstance(value, dict):
        return []
    known: dict[str, Any] = dict(schema.get("properties", {}))
    if not known:
        return []
    return [
        name
        for member, one in value.items()
        for name in (
            undescribed(document, known[member], one, f"{path}.{member}")
            if member in known
            else [f"{path}.{member}"]
        )
    ]
