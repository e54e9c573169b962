"""The log line about the engine, which workers choose and the supervisor must not load."""

import logging

from inference_server.supervision.control import Ready
from utils.logs import fields

logger = logging.getLogger(__name__)


class EngineLog:
    """Writes a line when the first worker is ready, and another when a later one has chosen otherwise."""

    def __init__(self) -> None:
        self._last: Ready | None = None

    def chosen(self) -> tuple[str, str]:
        """The engine and the instruction set of the worker that was ready last; empty before the first."""
        return ("", "") if self._last is None else (self._last.engine, self._last.instruction_set)

    def record(self, ready: Ready) -> None:
        """Take in what a worker reports; that a faster engine was passed over is a warning."""
        if ready != self._last:
            level = logging.WARNING if ready.degraded else logging.INFO
            engine, instruction_set = ready.engine or None, ready.instruction_set or None
            report = fields(engine=engine, instruction_set=instruction_set, reason=ready.reason or None)
            logger.log(level, "engine", extra=report)
        self._last = ready
