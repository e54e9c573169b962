"""Waiting for the processes of a model, for protocols whose callers say whether to."""

import logging
import threading
import time
from concurrent.futures import Future
from typing import Any

from inference_server.admin.supervisor_client import Execute
from inference_server.catalogue.commands import DescribeModel, Scale
from inference_server.catalogue.entries import State
from utils.errors import FacetError, ModelLoadFailed
from utils.logs import fields
from utils.torchserve import NOT_STARTED

logger = logging.getLogger(__name__)

_SOON_SECONDS = 0.5
_LOOK_SECONDS = 0.05


def wait_for(execute: Execute, name: str, version: str, count: int) -> None:
    """Wait until a version has as many processes that serve.

    Raises:
        ModelLoadFailed: It has failed meanwhile, or they take longer than its `startup_timeout` for each.
        FacetError: The supervisor does not know the version any more, or does not answer.
    """
    started = time.monotonic()
    while True:
        [found] = execute(DescribeModel(name, version))["models"]
        if found["ready_workers"] >= count:
            return
        longest = found["settings"]["startup_timeout"] * count
        if time.monotonic() - started > longest or found["state"] == State.FAILED.value:
            raise ModelLoadFailed(NOT_STARTED.format(model=name, version=version))
        time.sleep(_LOOK_SECONDS)


def begin(execute: Execute, command: Scale) -> None:
    """Have a version scaled, and wait for it no longer than for what is refused at once.

    Raises:
        FacetError: It was refused in that time; what is refused later is logged.
    """
    done: Future[Any] = Future()
    threading.Thread(target=_execute, args=(execute, command, done), daemon=True).start()
    try:
        done.result(_SOON_SECONDS)
    except TimeoutError:
        return


def _execute(execute: Execute, command: Scale, done: "Future[Any]") -> None:
    try:
        done.set_result(execute(command))
    except FacetError as error:
        line = fields(model=f"{command.name}/{command.version}", reason=error.detail)
        logger.warning("model not scaled", extra=line)
        done.set_exception(error)
