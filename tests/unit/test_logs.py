"""Rules of the log lines."""

import json
import logging
import sys
from datetime import datetime

import pytest

from utils.logs import JsonFormatter, TextFormatter, current_level, fields, set_level


def record(message: str, *, error: bool = False, **values: object) -> logging.LogRecord:
    """A log record with fields, as a logger would make it."""
    info = None
    if error:
        try:
            raise ValueError("why")
        except ValueError:
            info = sys.exc_info()
    made = logging.LogRecord("facet", logging.INFO, "x.py", 1, message, None, info)
    made.__dict__.update(fields(**values))
    return made


def test_a_json_line_is_one_object_with_the_fields_beside_the_message() -> None:
    """Whatever collects logs finds each value under its name."""
    line = JsonFormatter().format(record("request", status="OK", faces=3, reason=None))
    assert "\n" not in line
    said = json.loads(line)
    assert (said["message"], said["status"], said["faces"], said["level"]) == ("request", "OK", 3, "info")
    assert "reason" not in said


@pytest.mark.security(
    endpoint="gateway",
    attack="Line breaks in what is logged as text, to forge a line",
    outcome="Quoted within one line",
)
def test_a_text_line_quotes_what_could_be_misread() -> None:
    """A value with a space or a line break stays one value on one line."""
    line = TextFormatter().format(record("request", how="killed by\nSIGKILL", faces=3, empty=""))
    assert 'how="killed by\\nSIGKILL" faces=3 empty=""' in line
    assert "\n" not in line


def test_a_text_line_begins_with_the_local_time_of_day() -> None:
    """To the millisecond; a date and a zone are for JSON, which is read later and elsewhere."""
    made = record("ready")
    made.created = datetime(2026, 1, 31, 10, 20, 30, 405_000).timestamp()
    assert TextFormatter().format(made).startswith("10:20:30.405 info ")
    assert json.loads(JsonFormatter().format(made))["time"].endswith("+00:00")


def test_a_traceback_is_kept_in_both_forms() -> None:
    """On the JSON line as a field, below the text line as text."""
    said = json.loads(JsonFormatter().format(record("failed", error=True)))
    assert "ValueError: why" in said["traceback"]
    assert TextFormatter().format(record("failed", error=True)).endswith("ValueError: why")


def test_a_level_is_that_of_our_own_loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    """At DEBUG other libraries still say nothing below INFO: some would write what callers have sent."""
    names = ("", "cli", "facet_serving", "gateway", "inference_server", "utils")
    for name in names:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.INFO)
    ours, theirs = logging.getLogger("inference_server.somewhere"), logging.getLogger("somebody.elses")
    assert current_level() == "INFO"
    for level, heard in (
        ("DEBUG", (True, False)),
        ("INFO", (False, False)),
        ("ERROR", (False, False)),
    ):
        set_level(level)
        assert current_level() == level
        assert (ours.isEnabledFor(logging.DEBUG), theirs.isEnabledFor(logging.DEBUG)) == heard
        assert (
            ours.isEnabledFor(logging.WARNING) == theirs.isEnabledFor(logging.WARNING) == (level != "ERROR")
        )
    set_level("INFO")
