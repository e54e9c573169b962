"""What the supervisor is asked to do with the models, and its answers, as lines of JSON.

{"command": "Scale", "name": "iris", "version": "1.0", "min_workers": 2}
{"ok": {"name": "iris", …}}    or    {"error": {"reason": "MODEL_NOT_FOUND", "detail": "…", "field": "name"}}
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any, get_args

from utils.errors import FacetError, InternalError, MalformedRequest, error_class, shown


@dataclass(frozen=True, slots=True)
class Register:
    """Serve a version of a model.

    Attributes:
        url: What `Store.resolve` takes.
        name: What it is served as; empty for its own name.
        version: Which one, where `url` does not say.
        settings: Of ModelSettings, those that are not to be the model's own.
        synchronous: Whether the answer comes when it is served; else it does when it begins to load.
    """

    url: str
    name: str = ""
    version: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    synchronous: bool = True


@dataclass(frozen=True, slots=True)
class Unregister:
    """Serve a version no longer; without one, the default version. It is answered when no request waits."""

    name: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Change how many processes a version has. Without a version the default one.

    Attributes:
        min_workers: How many processes run; 0 stops all of them, until it is scaled again.
        max_workers: As ModelSettings has it; None keeps it, but for what `min_workers` asks.
    """

    name: str
    version: str = ""
    min_workers: int = 1
    max_workers: int | None = None


@dataclass(frozen=True, slots=True)
class SetDefault:
    """Have calls that name no version served by this one."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class SetCanary:
    """Have percents of the calls that name no version served by others than the default one.

    Attributes:
        weights: Percents by version, at most 100 together; none for no canary.
    """

    name: str
    weights: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ListModels:
    """List all versions of all models."""


@dataclass(frozen=True, slots=True)
class DescribeModel:
    """Describe a version with its card; without one, all versions of the model."""

    name: str
    version: str = ""


Command = Register | Unregister | Scale | SetDefault | SetCanary | ListModels | DescribeModel

Answer = Mapping[str, Any] | FacetError
"""What was done, or why it was not."""

_COMMANDS: Mapping[str, type[Command]] = MappingProxyType({one.__name__: one for one in get_args(Command)})
_TYPES: Mapping[Any, tuple[type, ...]] = MappingProxyType(
    {
        str: (str,),
        bool: (bool,),
        int: (int,),
        int | None: (int, type(None)),
        Mapping[str, Any]: (dict,),
        Mapping[str, int]: (dict,),
    }
)


def encode(command: Command) -> bytes:
    """A command as a line."""
    return _line({"command": type(command).__name__, **asdict(command)})


def decode(line: bytes) -> Command:
    """The command of a line.

    Raises:
        MalformedRequest: It is none, or has a member that the command does not have, or of another type.
    """
    values = _object(line)
    name = values.pop("command", None)
    kind = _COMMANDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise MalformedRequest(
            f"The command is {shown(repr(name))}; accepted: one of {', '.join(_COMMANDS)}", field="command"
        )
    types = {one.name: _TYPES[one.type] for one in fields(kind)}
    for member, value in values.items():
        if not isinstance(value, types.get(member, ())) or (
            isinstance(value, bool) and bool not in types[member]
        ):
            raise MalformedRequest(
                f"{shown(member)} is {shown(repr(value))}; it is no member of {name}, or not of its type",
                field=shown(member),
            )
    try:
        return kind(**values)
    except TypeError as error:
        raise MalformedRequest(f"{name} lacks a member that it must have") from error


def encode_answer(answer: Answer) -> bytes:
    """An answer as a line."""
    if not isinstance(answer, FacetError):
        return _line({"ok": dict(answer)})
    error = {"reason": answer.reason, "detail": answer.detail, "field": answer.field}
    return _line(
        {"error": error | ({} if answer.retry_after is None else {"retry_after": answer.retry_after})}
    )


def decode_answer(line: bytes) -> dict[str, Any]:
    """What was done.

    Raises:
        FacetError: It was not; the class is that of the reason.
        InternalError: The line is no answer.
    """
    try:
        values = json.loads(line)
        if "ok" in values:
            return dict(values["ok"])
        error = values["error"]
        kind = error_class(error["reason"]) or InternalError
        raise kind(error["detail"], field=error["field"], retry_after=error.get("retry_after"))
    except (KeyError, TypeError, ValueError) as error:
        raise InternalError("The backend's answer cannot be read: it is of another release") from error


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest("The line is no JSON") from error
    if not isinstance(values, dict):
        raise MalformedRequest("The line is no JSON object")
    return values
