"""Changes that take long, for protocols whose callers do not wait for them."""

import logging
import threading
from concurrent.futures import Future
from typing import Any

from inference_server.admin.supervisor_client import Execute
from inference_server.catalogue.commands import Scale
from utils.errors import FacetError
from utils.logs import fields

logger = logging.getLogger(__name__)

_SOON_SECONDS = 0.5


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
