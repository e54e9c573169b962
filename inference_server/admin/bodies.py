"""The body of a change as a command of the supervisor's, and its answers as JSON."""

from collections.abc import Mapping
from dataclasses import fields
from http import HTTPStatus
from typing import Any

import orjson
from flask import Response, request

from inference_server.catalogue.commands import Command
from inference_server.catalogue.lines import from_values
from utils.errors import MalformedRequest, shown
from utils.json_names import refuse_repeated_names


def json_response(document: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Response:
    """A document as the answer."""
    return Response(orjson.dumps(document), status, content_type="application/json")


def members() -> dict[str, Any]:
    """The members of the body's JSON object; none where there is no body.

    Raises:
        MalformedRequest: It is no JSON object, or one of lists or of objects of objects, or has a name twice.
    """
    body = request.get_data()
    if not body:
        return {}
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"The body is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise MalformedRequest("The body is no JSON object")
    for name, value in values.items():
        _check_flat(name, value)
    refuse_repeated_names(body)
    return values


def _check_flat(name: str, value: object) -> None:
    """Refuse what no command has, and what may be nested deeper than the supervisor reads."""
    parts = value.values() if isinstance(value, dict) else [value]
    if any(isinstance(part, dict | list) for part in parts):
        raise MalformedRequest(
            f"{shown(name)} is nested; accepted: a text, a number, or an object of these", field=shown(name)
        )


def command(kind: type[Command], **known: object) -> Command:
    """The command that the body has the members of.

    Args:
        kind: Which command.
        known: Members that the path has, and the body must not have.

    Raises:
        MalformedRequest: The body has others, or lacks some, or they are of other types.
    """
    return command_of(kind, members(), **known)


def command_of(kind: type[Command], values: Mapping[str, Any], **known: object) -> Command:
    """As `command`, of members that were read before."""
    accepted = [one.name for one in fields(kind) if one.name not in known]
    for member in values:
        if member not in accepted:
            raise MalformedRequest(
                f"The body has a member {shown(member)!r}; accepted: {', '.join(accepted) or 'none'}",
                field=shown(member),
            )
    return from_values(kind.__name__, {**values, **known})
