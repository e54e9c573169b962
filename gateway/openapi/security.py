"""Which operations need a key: those that can fail for want of one."""

from collections.abc import Iterator

from gateway.openapi.elements import Element
from utils.access import demands_keys
from utils.api_keys import MANAGE, PREDICT
from utils.settings import Settings

_SCHEME = "key"
_CHANGES = "/v2/repository/models/"
"""What the paths begin with that need the scope manage."""


def with_keys(document: Element, settings: Settings) -> Element:
    """The document with what its operations need, where the operator demands keys.

    Operations of paths that are added later need what most do.
    """
    if settings.api_keys_file is None:
        return document
    most = demands_keys(PREDICT, settings)
    for path, operation in _operations(document):
        scope = MANAGE if path.startswith(_CHANGES) else PREDICT
        needed = "401" in operation["responses"] and demands_keys(scope, settings)
        if needed is not most:
            operation["security"] = _one_key() if needed else []
    scheme = {"type": "http", "scheme": "bearer", "description": "A key, as `facet keys create` makes it."}
    document["components"]["securitySchemes"] = {_SCHEME: scheme}
    return document | {"security": _one_key()} if most else document


def _one_key() -> list[Element]:
    return [{_SCHEME: []}]


def _operations(document: Element) -> Iterator[tuple[str, Element]]:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation
