"""What a request has besides its image: options, image_id, metadata."""

import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import orjson

from utils.domain import OPTION_NAMES, DetectOptions, DetectRequest
from utils.errors import MalformedRequest, UnknownOption

_T = TypeVar("_T")

_SHOWN = 40
"""Characters of a caller's own text that an error repeats."""


def options_from(values: Mapping[str, Any]) -> DetectOptions:
    """Options from members of JSON.

    Raises:
        UnknownOption: There is none by such a name.
        OptionOutOfRange: One has a value of another type or outside its range.
    """
    for name in values:
        if name not in OPTION_NAMES:
            raise UnknownOption(
                f"There is no option {name[:_SHOWN]!r}; known: {', '.join(OPTION_NAMES)}",
                field=f"options.{name[:_SHOWN]}",
            )
    return DetectOptions(**{name: _option(value) for name, value in values.items()})


def _option(value: object) -> Any:  # noqa: ANN401 - DetectOptions checks its type
    """A number or null as it is; else what its error message shows, which no number is."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return orjson.dumps(value)[:_SHOWN].decode(errors="ignore")


def metadata_from(value: object) -> dict[str, str]:
    """Metadata from JSON.

    Raises:
        MalformedRequest: It is not an object of strings.
    """
    if not isinstance(value, dict):
        raise MalformedRequest("metadata is not an object of strings", field="metadata")
    for name, text in value.items():
        if not isinstance(text, str):
            raise MalformedRequest(
                f"metadata.{name[:_SHOWN]} is not a string", field=f"metadata.{name[:_SHOWN]}"
            )
    return value


def parse_query(query: str) -> dict[str, str]:
    """The parameters of a query string.

    Raises:
        MalformedRequest: It is not UTF-8, or names a parameter twice.
    """
    try:
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise MalformedRequest("The query is not UTF-8.") from error
    return unique(pairs)


def unique(pairs: Iterable[tuple[str, _T]]) -> dict[str, _T]:
    """Named values as a mapping.

    Raises:
        MalformedRequest: A name comes twice.
    """
    values: dict[str, _T] = {}
    for name, value in pairs:
        if name in values:
            raise MalformedRequest(f"{name[:_SHOWN]!r} is given twice", field=name[:_SHOWN])
        values[name] = value
    return values


def request_from_text(image: bytes, values: Mapping[str, str]) -> DetectRequest:
    """A request whose members came as text: the parameters of a query or the fields of a form.

    Raises:
        UnknownOption: A name is neither image_id nor an option.
        OptionOutOfRange: An option is not a number in its range.
    """
    options = {name: _number(text) for name, text in values.items() if name != "image_id"}
    return DetectRequest(image, options_from(options), values.get("image_id", ""))


def _number(text: str) -> object:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, int | float) else text
