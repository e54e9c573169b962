"""The log line of a management request, whatever carried it: who asked for what, and what became of it."""

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any, Final

from inference_server.catalogue.commands import Answer, Command, Look
from utils.errors import FacetError, InternalError
from utils.logs import fields

logger = logging.getLogger(__name__)

_LONGEST: Final = 200
"""Characters of the arguments of a change."""
_USER_INFO: Final = re.compile(r"//[^/]*@")

_change: ContextVar[dict[str, Any]] = ContextVar("change")
"""What the request of this context changes."""


def begin_request() -> None:
    """Begin a request, whose line is to say what this context, and copies of it, change from now on."""
    _change.set({})


def note_change(command: Command, answer: Answer | None = None) -> None:
    """Have the line of this context's request say what it asks for, unless that changes nothing.

    Args:
        command: What the supervisor is asked.
        answer: What it has answered; None where it has not yet.
    """
    if not isinstance(command, Look):
        _change.get({}).update(_described(command, answer))


def log_request(began: float, failure: FacetError | None, *, reads: bool, **line: object) -> None:
    """Write it: at DEBUG for one that has only read, at ERROR for a fault of ours.

    Args:
        began: When the request did, of the monotonic clock.
        failure: With what it was answered; None where it was done.
        reads: Whether it changes nothing.
        line: Other fields.
    """
    level = logging.DEBUG if reads and failure is None else logging.INFO
    if isinstance(failure, InternalError):
        level = logging.ERROR
    reason = None if failure is None else failure.reason
    elapsed = round((time.monotonic() - began) * 1000, 3)
    values = fields(**line, **_change.get({}), reason=reason, elapsed_ms=elapsed)
    logger.log(level, "management request", extra=values)


def logged(
    execute: Callable[[Command, Callable[[Answer], None]], None], **caller: object
) -> Callable[[Command, Callable[[Answer], None]], None]:
    """What carries out a command, with a line for each that this caller gives."""

    def execute_and_log(command: Command, reply: Callable[[Answer], None]) -> None:
        began = time.monotonic()

        def answered(answer: Answer) -> None:
            failure = answer if isinstance(answer, FacetError) else None
            line = _described(command, answer)
            log_request(began, failure, reads=isinstance(command, Look), **caller, **line)
            reply(answer)

        execute(command, answered)

    return execute_and_log


def _described(command: Command, answer: Answer | None) -> dict[str, Any]:
    """The fields of a command: its name, the model version that it is about, and all else that it says."""
    arguments = {name: value for name, value in asdict(command).items() if value not in ("", None, {})}
    model = [arguments.pop("name", ""), arguments.pop("version", "")]
    if isinstance(answer, Mapping) and "name" in answer:  # which says what was not asked for by name
        model = [answer["name"], answer["version"]]
    if "url" in arguments:
        arguments["url"] = _USER_INFO.sub("//", arguments["url"]).partition("?")[0]
    return {
        "command": type(command).__name__,
        "model": "/".join(filter(None, model)) or None,
        "arguments": json.dumps(arguments)[:_LONGEST] if arguments else None,
    }
