"""Log lines on standard error: one line an event, its fields named, as text or as JSON.

    logger.info("request", extra=fields(status="OK", faces=3))

Text is for a person at a terminal, JSON for whatever collects logs.
"""

import json
import logging
import logging.config
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
"""What can be logged, and all above it."""

_FIELDS = "facet_fields"
_OURS = ("cli", "facet_serving", "gateway", "inference_server", "utils")
# Made once: json.dumps would make one for every line.
_to_json = json.JSONEncoder(default=str).encode


def fields(**values: Any) -> dict[str, Any]:  # noqa: ANN401 - anything that can be written
    """Named values of one log line, for the `extra` of a logging call. None is left out."""
    return {_FIELDS: {name: value for name, value in values.items() if value is not None}}


def configure(log_format: str) -> None:
    """Send every log line of this process to standard error, from INFO up, and Python's warnings, too.

    Args:
        log_format: `text`; anything else is JSON.
    """
    logging.config.dictConfig(logging_config(log_format))
    logging.captureWarnings(capture=True)
    collect_garbage_less()


def set_level(level: str) -> None:
    """Log what is of this level or above it from now on; of other libraries nothing below INFO.

    At DEBUG some of them write what callers have sent.
    """
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    logging.getLogger().setLevel(max(logging.getLevelNamesMapping()[level], logging.INFO))


def current_level() -> str:
    """What this process logs, and all above it: one of LEVELS."""
    return logging.getLevelName(logging.getLogger(_OURS[-1]).getEffectiveLevel())


def collect_garbage_less() -> None:
    """Have the standard library not collect what no line of ours says: source line, thread, task.

    These are its own switches (the section Optimization of its Logging HOWTO).
    """
    logging._srcfile = None
    logging.logThreads = logging.logMultiprocessing = False
    if sys.version_info >= (3, 12):
        logging.logAsyncioTasks = False


def logging_config(log_format: str) -> dict[str, Any]:
    """The standard library's configuration of it, for those that take one (gunicorn)."""
    formatter = "TextFormatter" if log_format == "text" else "JsonFormatter"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"facet": {"()": f"{__name__}.{formatter}"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "facet",
            }
        },
        "root": {"level": "INFO", "handlers": ["stderr"]},
    }


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, process, logger, message, fields, and the traceback if there is one."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _to_json(line)


class TextFormatter(logging.Formatter):
    """Local time of day, level, process, message and `name=value` pairs, with any traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the line."""
        pairs = "".join(f" {name}={_text(value)}" for name, value in fields_of(record).items())
        time = datetime.fromtimestamp(record.created).time().isoformat("milliseconds")
        line = f"{time} {record.levelname.lower():7} [{record.process}] {record.getMessage()}{pairs}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    """The named values of a line."""
    values: Mapping[str, Any] = record.__dict__.get(_FIELDS, {})
    return values


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _text(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(c in text for c in ' "=\n') else text
