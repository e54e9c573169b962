"""What a request has besides its image: options, image_id, metadata."""

import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import orjson

from utils.domain import (
    MAX_IMAGE_ID_CHARACTERS,
    MAX_METADATA_CHARACTERS,
    OPTION_NAMES,
    DetectOptions,
    DetectRequest,
)
from utils.errors import SHOWN_CHARACTERS, MalformedRequest, UnknownOption, shown

_T = TypeVar("_T")

_DEFAULTS = DetectOptions()
_MARKS = (b",", b"[", b"{")
"""One of them is before every value of JSON but the outermost."""
_MOST_MARKS = MAX_METADATA_CHARACTERS + MAX_IMAGE_ID_CHARACTERS + 1024
"""More than a request needs, even where its texts are nothing but commas. Base64 has none."""


def load_json(text: bytes, what: str, *, field: str | None = None) -> Any:  # noqa: ANN401 - any JSON
    """What a text of JSON says, unless it says much more than any request does.

    A value costs many times the memory of its text, `{}` for one, so they are counted before they are made.

    Args:
        text: The JSON.
        what: Its name in errors, at the beginning of a sentence.
        field: The member that it is, if it is one.

    Raises:
        MalformedRequest: It is not JSON, or has too many values.
    """
    marks = sum(count_up_to(_MOST_MARKS + 1, mark, text) for mark in _MARKS)
    if marks > _MOST_MARKS:
        raise MalformedRequest(
            f"{what} has more than {_MOST_MARKS} commas and opening brackets, which no request needs",
            field=field,
        )
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"{what} is not JSON: {error}", field=field) from error


def count_up_to(most: int, mark: bytes, text: bytes) -> int:
    """How often a mark occurs, or `most`.

    `find` passes over an image without one far faster than `count`.
    """
    at = -1
    for number in range(most):
        at = text.find(mark, at + 1)
        if at < 0:
            return number
    return most


def options_from(values: Mapping[str, Any]) -> DetectOptions:
    """Options from members of JSON.

    Raises:
        UnknownOption: There is none by such a name.
        OptionOutOfRange: One has a value of another type or outside its range.
    """
    for name in values:
        if name not in OPTION_NAMES:
            raise UnknownOption(
                f"There is no option {shown(name)!r}; known: {', '.join(OPTION_NAMES)}",
                field=f"options.{shown(name)}",
            )
    return DetectOptions(**{name: _option(name, value) for name, value in values.items()})


def _option(name: str, value: object) -> Any:  # noqa: ANN401 - DetectOptions checks its type
    """A number as it is, and null where that is the default; else what its error message shows."""
    if value is None and getattr(_DEFAULTS, name) is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return orjson.dumps(value)[:SHOWN_CHARACTERS].decode(errors="ignore")


def metadata_from(value: object) -> dict[str, str]:
    """Metadata from JSON.

    Raises:
        MalformedRequest: It is not an object of strings.
    """
    if not isinstance(value, dict):
        raise MalformedRequest("metadata is not an object of strings", field="metadata")
    for name, text in value.items():
        if not isinstance(text, str):
            raise MalformedRequest(f"metadata.{shown(name)} is not a string", field=f"metadata.{shown(name)}")
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
            raise MalformedRequest(f"{shown(name)!r} is given twice", field=shown(name))
        values[name] = value
    return values


def request_from_text(
    image: bytes, values: Mapping[str, str], metadata: Mapping[str, str] | None = None
) -> DetectRequest:
    """A request whose members came as text: the parameters of a query or the fields of a form.

    Raises:
        MalformedRequest: The image_id or the metadata are too long.
        UnknownOption: A name is neither image_id nor an option.
        OptionOutOfRange: An option is not a number in its range.
    """
    options = {name: _number(text) for name, text in values.items() if name != "image_id"}
    return DetectRequest(image, options_from(options), values.get("image_id", ""), metadata or {})


def _number(text: str) -> object:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, int | float) else text
