"""How a worker that cannot boot ends."""

import logging
import sys
from typing import NoReturn

from inference_server.dispatch.shared import LayoutMismatch
from inference_server.supervision.control import BootFailed, WorkerEnd
from utils.errors import FacetError, InvalidModel
from utils.logs import fields

logger = logging.getLogger(__name__)

EXIT_BOOT_FAILURE = 3

_LONGEST_REASON = 500


def fail(
    control: WorkerEnd, error: Exception, permanent_errors: tuple[type[Exception], ...] = ()
) -> NoReturn:
    """Tell the supervisor, in one line, why this worker cannot boot, and whether any ever can, and end.

    Args:
        control: The line to the supervisor.
        error: Why.
        permanent_errors: Those of the model that every other worker would meet, too. Anything else, such as
            want of memory, may pass.
    """
    permanent = isinstance(error, (LayoutMismatch, *permanent_errors))
    # What is permanent says to the operator what to do; neither class nor traceback would add to that.
    kind = "" if permanent or isinstance(error, FacetError) else f"{type(error).__name__}: "
    reason = " ".join(f"{kind}{error}".split())[:_LONGEST_REASON]
    logger.error(
        "the worker cannot start", exc_info=None if permanent else error, extra=fields(reason=reason)
    )
    invalid = isinstance(error, InvalidModel)
    at_fault = (error.field or "") if isinstance(error, InvalidModel) else ""
    control.send(BootFailed(reason, permanent, invalid, at_fault))
    sys.exit(EXIT_BOOT_FAILURE)
