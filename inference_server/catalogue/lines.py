"""Commands and answers as lines of JSON.

{"command": "Scale", "name": "iris", "version": "1.0", "min_workers": 2}
{"ok": {"name": "iris", …}}    or    {"error": {"reason": "MODEL_NOT_FOUND", "detail": "…", "field": "name"}}

A line may have an `id`, a whole number, which is then the answer's, too. Commands with an id are carried out
at once, and answered when they are done; those without one are carried out one after the other.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from types import MappingProxyType
from typing import Any, get_args

from inference_server.catalogue.commands import Answer, Command
from utils.errors import FacetError, InternalError, MalformedRequest, error_class, shown

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


def encode(command: Command, number: int | None = None) -> bytes:
    """A command as a line, with an id or without one."""
    return _line({**_numbered(number), "command": type(command).__name__, **asdict(command)})


def decode_id(line: bytes) -> int | None:
    """The id of a line, which is a command or an answer; None where it has none."""
    try:
        number = _object(line).get("id")
    except MalformedRequest:
        return None
    return number if isinstance(number, int) else None


def decode(line: bytes) -> Command:
    """The command of a line.

    Raises:
        MalformedRequest: It is none, or has a member that the command does not have, or of another type.
    """
    values = _object(line)
    values.pop("id", None)
    return from_values(values.pop("command", None), values)


def from_values(name: object, values: Mapping[str, Any]) -> Command:
    """The command of this name with these members.

    Raises:
        MalformedRequest: There is no such command, or it has no such member, or one of another type.
    """
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
    for one in fields(kind):
        if one.default is MISSING and one.default_factory is MISSING and one.name not in values:
            raise MalformedRequest(f"{name} lacks the member {one.name}", field=one.name)
    return kind(**values)


def encode_answer(answer: Answer, number: int | None = None) -> bytes:
    """An answer as a line, with the id of its command where that had one."""
    if not isinstance(answer, FacetError):
        return _line({**_numbered(number), "ok": dict(answer)})
    error: dict[str, Any] = {"reason": answer.reason, "detail": answer.detail, "field": answer.field}
    if answer.retry_after is not None:
        error["retry_after"] = answer.retry_after
    return _line({**_numbered(number), "error": error})


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


def _numbered(number: int | None) -> dict[str, int]:
    return {} if number is None else {"id": number}


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
