"""What operators ask of the whole backend: its status, its end, its log level; models are the manager's."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from inference_server.catalogue.commands import (
    BackendCommand,
    Command,
    Drain,
    ModelCommand,
    SetLogLevel,
    Status,
)
from inference_server.catalogue.manager import ModelManager
from inference_server.catalogue.table import Reply
from inference_server.recent_failures import RecentFailures
from inference_server.supervision.control import SetLogLevel as LogLevelChanged
from inference_server.supervision.exchange import ExchangeableGroup
from inference_server.supervision.group import Group
from inference_server.supervision.recycling import resident_bytes
from inference_server.supervision.supervisor import Supervisor
from utils.errors import InternalError, MalformedRequest, shown
from utils.logs import LEVELS, current_level, fields, set_level

logger = logging.getLogger(__name__)


class Management:
    """Carries out every command that comes over a control connection.

    Args:
        supervisor: Of all processes.
        models: Carries out the commands that are about models.
        waiting: How many requests wait in a queue.
        failures: What failed lately.
        ready: Whether the whole backend serves.
        engine: The engine and the instruction set by which faces are found.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        models: ModelManager[ExchangeableGroup],
        *,
        waiting: Callable[[int], int],
        failures: RecentFailures,
        ready: Callable[[], bool],
        engine: Callable[[], tuple[str, str]],
    ) -> None:
        self._supervisor = supervisor
        self._models = models
        self._waiting = waiting
        self._failures = failures
        self._ready = ready
        self._engine = engine
        self._started = time.time()

    def execute(self, command: Command, reply: Reply) -> None:
        """Carry out a command; the answer may come later, and comes once."""
        if isinstance(command, ModelCommand):
            self._models.execute(command, reply)
            return
        try:
            reply(self._answer(command))
        except MalformedRequest as error:
            reply(error)
        except Exception:  # whatever a command meets, the backend serves on
            logger.exception("command failed", extra=fields(command=type(command).__name__))
            reply(InternalError())

    def _answer(self, command: BackendCommand) -> dict[str, Any]:
        match command:
            case Status():
                return self._status()
            case Drain():
                self._supervisor.drain("an operator asked for it")
                return {"state": self._state()}
            case SetLogLevel(level):
                return self._set_log_level(level)

    def _set_log_level(self, level: str) -> dict[str, Any]:
        if level not in LEVELS:
            accepted = ", ".join(LEVELS)
            raise MalformedRequest(
                f"level is {shown(repr(level))}; accepted: one of {accepted}", field="level"
            )
        set_level(level)
        self._supervisor.broadcast(LogLevelChanged(level))
        logger.warning("log level changed", extra=fields(level=level))
        return {"level": level}

    def _status(self) -> dict[str, Any]:
        models = self._models.described()
        # A group keeps its first name, which has no version where the model itself says which it is.
        names = {
            model["queue"]: "/".join(filter(None, (model["name"], model["version"]))) for model in models
        }
        engine, instruction_set = self._engine()
        return {
            "state": self._state(),
            "pid": os.getpid(),
            "started": self._started,
            "uptime_seconds": round(time.time() - self._started, 3),
            "memory_bytes": resident_bytes(os.getpid()),
            "release": self._supervisor.release,
            "log_level": current_level(),
            "engine": engine,
            "instruction_set": instruction_set,
            "groups": [self._described(group, names) for group in self._supervisor.groups],
            "models": models,
            "failures": self._failures.latest(),
        }

    def _state(self) -> str:
        if self._supervisor.stopping:
            return "stopping"
        return "ready" if self._ready() else "starting"

    def _described(self, group: Group, names: Mapping[int, str]) -> dict[str, Any]:
        return {
            "name": names.get(group.queue, group.name) if group.queue else group.name,
            "wanted": group.wanted,
            "ready": group.ready_count,
            "waiting": None if group.queue is None else self._waiting(group.queue),
            "processes": [process.describe() for process in group.processes],
        }
