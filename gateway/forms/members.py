"""What a request has besides its image: options, image_id, metadata."""

import codecs
import sys
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import orjson

from gateway.forms.extras import EXTRA_OPTIONS, INCLUDE, wanted_from
from utils.domain import (
    MAX_IMAGE_ID_CHARACTERS,
    MAX_METADATA_CHARACTERS,
    OPTION_NAMES,
    DetectOptions,
    DetectRequest,
)
from utils.errors import SHOWN_CHARACTERS, MalformedRequest, UnknownOption, shown
from utils.json_names import refuse_repeated_names

_T = TypeVar("_T")

ALL_OPTIONS = (*OPTION_NAMES, INCLUDE, *EXTRA_OPTIONS)
"""The names that a request's options may have."""

_MARKS = (b",", b"[", b"{")
"""One of them is before every value of JSON but the outermost."""
_MOST_MARKS = MAX_METADATA_CHARACTERS + MAX_IMAGE_ID_CHARACTERS + 1024
"""More than a request needs, even where its texts are nothing but commas. Base64 has none."""


def load_json(text: bytes, what: str, *, field: str | None = None) -> Any:  # noqa: ANN401 - any JSON
    """What a text of JSON says, unless it says a thing twice, or much more than any request does.

    A value costs many times the memory of its text, `{}` for one, so they are counted before they are made.

    Args:
        text: The JSON; a byte order mark before it is passed over.
        what: Its name in errors, at the beginning of a sentence.
        field: The member that it is, if it is one.

    Raises:
        MalformedRequest: It is not JSON, has too many values, or an object has a name twice.
    """
    marks = sum(_count_up_to(_MOST_MARKS + 1, mark, text) for mark in _MARKS)
    if marks > _MOST_MARKS:
        raise MalformedRequest(
            f"{what} has more than {_MOST_MARKS} commas and opening brackets, which no request needs",
            field=field,
        )
    try:
        document = orjson.loads(text.removeprefix(codecs.BOM_UTF8))
        refuse_repeated_names(text)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"{what} is not JSON: {error}", field=field) from error
    except RecursionError as error:
        raise MalformedRequest(f"{what} is nested too deeply.", field=field) from error
    return document


def _count_up_to(most: int, mark: bytes, text: bytes) -> int:
    """How often a mark occurs, or `most`.

    `find` passes over an image without one far faster than `count`.
    """
    at = -1
    for number in range(most):
        at = text.find(mark, at + 1)
        if at < 0:
            return number
    return most


def metadata_from(value: object) -> dict[str, str]:
    """Metadata from JSON; null is none.

    Raises:
        MalformedRequest: It is not an object of strings.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedRequest("metadata is not an object of strings", field="metadata")
    for name, text in value.items():
        if not isinstance(text, str):
            raise MalformedRequest(f"metadata.{shown(name)} is not a string", field=f"metadata.{shown(name)}")
    return value


def unique(pairs: Iterable[tuple[str, _T]], join: Callable[[_T, _T], _T]) -> dict[str, _T]:
    """Named values as a mapping.

    Args:
        pairs: Names and values.
        join: Makes one of two values of `include`, which alone may come several times.

    Raises:
        MalformedRequest: Another name comes twice.
    """
    values: dict[str, _T] = {}
    for name, value in pairs:
        if name in values and name != INCLUDE:
            raise MalformedRequest(f"{shown(name)!r} is given twice", field=shown(name))
        values[name] = join(values[name], value) if name in values else value
    return values


def request_from(
    image: bytes,
    query: str,
    options: Mapping[str, Any] = MappingProxyType({}),
    image_id: str | None = None,
    metadata: Mapping[str, str] = MappingProxyType({}),
    *,
    included: str = "",
) -> DetectRequest:
    """A request whose options and image_id came in its body, in its query string, or some in either.

    Args:
        image: The bytes of the file.
        query: The query string.
        options: The options of the body, as JSON has them; null is none.
        image_id: That of the body, if it has one.
        metadata: That of the body.
        included: What the path of the request includes in its answer, and nothing else; empty: what the
            request says.

    Raises:
        MalformedRequest: The query cannot be read, something is given twice, image_id or metadata are too
            long, or an option is for what is not included.
        UnknownOption: There is none by such a name.
        OptionOutOfRange: One has a value that it does not accept.
    """
    texts = _parse_query(query) if query else {}
    for name in texts:
        if options.get(name) is not None or (name == "image_id" and image_id is not None):
            raise MalformedRequest(
                f"{shown(name)!r} is given twice, in the query and in the body", field=shown(name)
            )
    image_id = texts.pop("image_id", image_id or "")
    checked: dict[str, Any] = {}
    extras: dict[str, Any] = {}
    for name, value in {**options, **typed(texts)}.items():
        if name not in ALL_OPTIONS:
            raise UnknownOption(
                f"There is no option {shown(name)!r}; known: {', '.join(ALL_OPTIONS)}",
                field=f"options.{shown(name)}",
            )
        if value is not None:
            if name in OPTION_NAMES:
                checked[name] = _option(value)
            else:
                extras[name] = value if name == INCLUDE else _extra(value)
    wanted = wanted_from(extras, included)
    return DetectRequest(image, DetectOptions(**checked), image_id, metadata, wanted)


class _Json(str):
    """A value as JSON writes it, which an error message does not quote again."""

    __slots__ = ()
    __repr__ = str.__str__


def _option(value: object) -> Any:  # noqa: ANN401 - DetectOptions checks its type
    """A number, as an integer where it is whole; else what its error message shows."""
    if isinstance(value, float) and value.is_integer() and abs(value) < sys.maxsize:
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return _Json(orjson.dumps(value)[:SHOWN_CHARACTERS].decode(errors="ignore"))


def _extra(value: object) -> Any:  # noqa: ANN401 - as for _option
    """The same, with true, false and texts as they are."""
    if isinstance(value, str):
        return shown(value)
    return value if isinstance(value, bool) else _option(value)


def _parse_query(query: str) -> dict[str, str]:
    """The parameters of a query string.

    Raises:
        MalformedRequest: It is not UTF-8, or names a parameter twice.
    """
    try:
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise MalformedRequest("The query is not UTF-8.") from error
    return unique(pairs, lambda first, second: f"{first},{second}")


def typed(texts: Mapping[str, str]) -> dict[str, object]:
    """Options that came as text, as JSON would have them; what is no number, true or false is text."""
    return {name: text.split(",") if name == INCLUDE else _number(text) for name, text in texts.items()}


def _number(text: str) -> object:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, int | float) else text
