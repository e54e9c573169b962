"""The log line about the engine, which workers choose and the supervisor must not load."""

import logging

from inference_server.supervision.control import Message
from utils.logs import fields

logger = logging.getLogger(__name__)


class EngineLog:
    """Writes a line when the first worker is ready, and another when a later one has chosen otherwise."""

    def __init__(self) -> None:
        self._last: Message | None = None

    def heard(self, ready: Message) -> None:
        """Take in the `ready` message of a worker; that a faster engine was passed over is a warning."""
        # A release of the worker's code may say less than this one does: see `logs.fields`.
        report = {name: ready.get(name) or None for name in ("engine", "instruction_set", "reason")}
        if report != self._last:
            level = logging.WARNING if ready.get("second_best") else logging.INFO
            logger.log(level, "engine", extra=fields(**report))
        self._last = report
