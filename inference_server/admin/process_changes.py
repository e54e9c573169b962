"""Changes of how many processes a version has, for protocols whose callers say whether to wait for them."""

import logging
import threading
import time
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any

from inference_server.admin.supervisor_client import ChangeLimit, Execute
from inference_server.catalogue.commands import DescribeModel, Register, Scale
from inference_server.catalogue.entries import State
from utils.errors import FacetError, ModelLoadFailed
from utils.logs import fields
from utils.torchserve import NOT_STARTED, filled

logger = logging.getLogger(__name__)

_SOON_SECONDS = 0.5
_LOOK_SECONDS = 0.1


class ProcessChanges:
    """Makes these changes.

    Args:
        execute: Asks the supervisor.
    """

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._limit = ChangeLimit()

    def make_and_wait(self, command: Register | Scale) -> dict[str, Any]:
        """Make a change, and wait until the version has as many processes that serve; gives its answer.

        Raises:
            TooManyChanges: As many are waited for as may be, and this one was not made.
            ModelLoadFailed: It has failed meanwhile, or they take longer than its `startup_timeout` for each.
            FacetError: The supervisor refuses it, does not know the version any more, or does not answer.
        """
        with self._limit:
            answer = self._execute(command)
            self._wait(answer["name"], answer["version"], answer["workers"])
        return answer

    def begin(self, command: Scale) -> None:
        """Make a change, and wait no longer than for what is refused at once.

        Raises:
            FacetError: It was refused in that time; what is refused later is logged.
        """
        done: Future[None] = Future()
        threading.Thread(target=copy_context().run, args=(self._make, command, done), daemon=True).start()
        try:
            done.result(_SOON_SECONDS)
        except TimeoutError:
            return

    def _wait(self, name: str, version: str, count: int) -> None:
        started = time.monotonic()
        while True:
            [found] = self._execute(DescribeModel(name, version))["models"]
            if found["ready_workers"] >= count:
                return
            longest = found["settings"]["startup_timeout"] * count
            if time.monotonic() - started > longest or found["state"] == State.FAILED.value:
                raise ModelLoadFailed(filled(NOT_STARTED, model=name, version=version))
            time.sleep(_LOOK_SECONDS)

    def _make(self, command: Scale, done: "Future[None]") -> None:
        try:
            self._execute(command)
            done.set_result(None)
        except Exception as error:  # whatever it is, who waits is told
            line = fields(model=f"{command.name}/{command.version}", reason=str(error))
            unexpected = None if isinstance(error, FacetError) else error
            logger.warning("model not scaled", exc_info=unexpected, extra=line)
            done.set_exception(error)
