"""Kinds of settings: how a text is read, and what is accepted, in words."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.settings.address import Address, parse_address

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a model may be called."""

UNIX = "unix:"
"""Before the path of a socket, where a setting may be an address, too."""

_HOST = re.compile(r"[a-z0-9_.-]+|\[[0-9a-f:.]+\]")
# As browsers send it: in lower case, without the scheme's own port.
_ORIGIN = re.compile(
    rf"(?!http://.*:80$|https://.*:443$)[a-z][a-z0-9+.-]*://(?:{_HOST.pattern})(?::\d{{1,5}})?"
)

_HTTP_URL = re.compile(rf"https?://(?:{_HOST.pattern})(?::\d{{1,5}})?(?:/[A-Za-z0-9._~/-]*)?", re.IGNORECASE)


class InvalidSetting(ValueError):
    """A setting cannot be used; the message is the one line that the start ends with."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting may be.

    Attributes:
        accepted: What is accepted, in words: those of the error message and of docs/settings.md.
        parse: Reads a text, or raises a ValueError.
        empty_counts: Whether an empty text is a value, and not the same as none.
    """

    accepted: str
    parse: Callable[[str], Any]
    empty_counts: bool = False


def whole(low: int, high: int) -> Kind:
    """A whole number from `low` to `high`."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?\d+", text) or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return Kind(f"a whole number from {low} to {high}", parse)


def seconds(low: float, high: float) -> Kind:
    """A number of seconds from `low` to `high`."""

    def parse(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return Kind(f"a number of seconds from {low:g} to {high:g}", parse)


def one_of(*names: str) -> Kind:
    """One of some names."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(text)
        return text

    return Kind(f"one of {', '.join(names)}", parse)


def some_of(*names: str) -> Kind:
    """Some of some names, in the order in which they are given here, or all of them."""

    def parse(text: str) -> tuple[str, ...]:
        chosen = {name.strip().lower() for name in text.split(",")}
        if chosen == {"all"}:
            return names
        if not chosen.issubset(names):
            raise ValueError(text)
        return tuple(name for name in names if name in chosen)

    return Kind(f"all, or some of {', '.join(names)} with commas between them", parse)


def _ratio(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(text)
    return value


def _url(text: str) -> str:
    if not _HTTP_URL.fullmatch(text):
        raise ValueError(text)
    return text.rstrip("/")


def _target(text: str) -> str:
    """Accept what a gRPC channel can dial."""
    if not text or any(character.isspace() for character in text):
        raise ValueError(text)
    return text


def _folder(text: str) -> Path:
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:  # ~ of a user without a home
        raise ValueError(text) from error
    if not path.is_absolute():
        raise ValueError(text)
    return path


def _listener(text: str) -> Address | Path | None:
    if not text:
        return None
    return _folder(text.removeprefix(UNIX)) if text.startswith(UNIX) else parse_address(text)


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(part.strip().lower() for part in text.split(","))
    if not all(_HOST.fullmatch(host) for host in hosts):
        raise ValueError(text)
    return hosts


def _host(text: str) -> str:
    if not _HOST.fullmatch(text.lower()):
        raise ValueError(text)
    return text.lower()


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(part.strip() for part in text.split(","))
    if origins != ("*",) and not all(_ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError(text)
    return origins


def _models(text: str) -> tuple[str, ...]:
    models = tuple(part.strip() for part in text.split(","))
    if not all(models):
        raise ValueError(text)
    return models


def _switch(text: str) -> bool:
    if text not in {"on", "off"}:
        raise ValueError(text)
    return text == "on"


def _patterns(text: str) -> tuple[str, ...]:
    patterns = tuple(part.strip() for part in text.split(","))
    try:
        for pattern in patterns:
            re.compile(pattern)
    except re.error as error:
        raise ValueError(text) from error
    return patterns


def _name(text: str) -> str:
    if not MODEL_NAME.fullmatch(text):
        raise ValueError(text)
    return text


ADDRESS = Kind("host:port, such as 127.0.0.1:8000 or [::1]:8000", parse_address)
LISTENER = Kind(
    "host:port, `unix:` and the absolute path of a socket, or nothing at all, which is none",
    _listener,
    empty_counts=True,
)
OPTIONAL_ADDRESS = Kind(
    "host:port, or nothing at all, which is none",
    lambda text: parse_address(text) if text else None,
    empty_counts=True,
)
HOSTS = Kind("names of hosts with commas between them, without ports", _hosts)
HOST_NAME = Kind("the name of a host, or its number", _host)
ORIGINS = Kind(
    "origins with commas between them, such as https://example.org, without a path or the scheme's own port; "
    "or `*`, which is all",
    _origins,
)
RATIO = Kind("a number from 0 to 1", _ratio)
URL = Kind("a URL of http or https, such as http://127.0.0.1:4318, without a query", _url)
TARGET = Kind("the backend's host:port, or another gRPC target", _target)
FOLDER = Kind("the absolute path of a folder", _folder)
MODELS = Kind("models with commas between them, each NAME, NAME/VERSION or NAME=SOURCE", _models)
FILE = Kind("the absolute path of a file", _folder)
SWITCH = Kind("on or off", _switch)
PATTERNS = Kind("regular expressions with commas between them", _patterns)
NAME = Kind("the name of a model: 1 to 64 letters, digits, `.`, `_` and `-`, the first no mark", _name)

BY_GATEWAY = "gateway"
BY_BACKEND = "backend"
BY_BOTH = "both"


def setting(
    kind: Kind,
    read_by: str,
    doc: str,
    *,
    default: Any = None,  # noqa: ANN401 - as dataclasses.field
    factory: Callable[[], Any] | None = None,
    shown: str | None = None,
) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A field of a dataclass with all that is to be said of a setting.

    Args:
        kind: What it may be.
        read_by: Which process acts by it.
        doc: What it decides.
        default: Its value where the environment has none.
        factory: Gives that value, where it depends on the machine.
        shown: The default in words, where the value itself does not say it.
    """
    metadata = {
        "parse": kind.parse,
        "empty_counts": kind.empty_counts,
        "accepted": kind.accepted,
        "read_by": read_by,
        "doc": doc,
        "default": shown or str(default),
    }
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)
