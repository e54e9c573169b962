"""What descriptions of paths are made of: operations, their parameters, bodies and answers."""

from collections.abc import Mapping, Sequence
from typing import Any

Element = dict[str, Any]
"""A part of an OpenAPI document."""

JSON = "application/json"
BYTES = "application/octet-stream"
MULTIPART = "multipart/form-data"
BINARY: Element = {"type": "string", "format": "binary"}
REQUEST_FIELDS = ("X-Request-Timeout", "X-Request-ID", "traceparent", "tracestate")
"""The header fields that each request may have."""

COMMON_PARAMETERS: Mapping[str, Element] = {
    "X-Request-Timeout": {
        "name": "X-Request-Timeout",
        "in": "header",
        "description": "Seconds that the request has in all, counted from the end of its head.",
        "schema": {"type": "number", "exclusiveMinimum": 0},
        "example": 20,
    },
    "X-Request-ID": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "Comes back, and stands in the logs; replaced where it is not as described.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
    },
    "traceparent": {
        "name": "traceparent",
        "in": "header",
        "description": "W3C Trace Context; ignored where it is not valid.",
        "schema": {"type": "string"},
    },
    "tracestate": {
        "name": "tracestate",
        "in": "header",
        "description": "W3C Trace Context; ignored where it is not valid, or `traceparent` is not.",
        "schema": {"type": "string", "maxLength": 512},
    },
}
COMMON_HEADERS: Mapping[str, Element] = {
    "X-Request-ID": {
        "description": "Names the request in the logs.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
    },
    "Retry-After": {
        "description": "Seconds after which trying again may help; absent where it does not.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "What is accepted: a key as a Bearer token.",
        "required": True,
        "schema": {"const": "Bearer"},
    },
    "RateLimit-Policy": {
        "description": "The limit of the request's key, if it has one: `q` requests in `w` seconds.",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "What is left of it: `r` requests; in `t` seconds there are more.",
        "schema": {"type": "string"},
    },
}


def ref(section: str, name: str) -> Element:
    """A reference to a component of the document."""
    return {"$ref": f"#/components/{section}/{name}"}


def schema(name: str) -> Element:
    """A reference to a schema of the document."""
    return ref("schemas", name)


def record(properties: dict[str, Element], *optional: str, description: str = "") -> Element:
    """An object whose members are all there, but for these."""
    required = [name for name in properties if name not in optional]
    made = {"type": "object", "properties": properties, "required": required}
    return made | {"description": description} if description else made


def array(items: Element, description: str = "") -> Element:
    """A list of anything."""
    return {"type": "array", "items": items, "description": description}


def answer(description: str, content: Mapping[str, Element], **headers: Element) -> Element:
    """An answer by its media types and their schemas; header fields are named with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "description": description,
        "headers": {"X-Request-ID": ref("headers", "X-Request-ID"), **named},
        "content": media(content),
    }


def media(content: Mapping[str, Element]) -> Element:
    """Media types and their schemas."""
    return {name: {"schema": value} for name, value in content.items()}


def body(content: Element, description: str = "", *, required: bool = True) -> Element:
    """A request's body by its media types."""
    return {"description": description, "required": required, "content": content}


def in_path(name: str, description: str, **constraints: object) -> Element:
    """A parameter of a path, which is text."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", **constraints},
    }


def operation(
    identifier: str,
    tag: str,
    summary: str,
    answers: Mapping[str, Element],
    *,
    parameters: Sequence[Element] = (),
    request: Element | None = None,
    description: str = "",
) -> Element:
    """What a method of a path does; it takes REQUEST_FIELDS, too.

    Args:
        identifier: Names it among all.
        tag: Names what it belongs to.
        summary: A few words.
        answers: By status.
        parameters: Of the path and the query, and header fields of its own.
        request: Its body, as `body` makes it.
        description: More than the summary.
    """
    common = [ref("parameters", name) for name in REQUEST_FIELDS]
    made: Element = {
        "operationId": identifier,
        "tags": [tag],
        "summary": summary,
        "description": description or summary,
        "parameters": [*parameters, *common],
        "responses": {**answers},
    }
    return made if request is None else made | {"requestBody": request}
