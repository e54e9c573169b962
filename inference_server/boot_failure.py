"""The report of a worker that could not boot."""

import logging
import sys
from typing import NoReturn

from inference_server.detector.choice import EngineUnavailable
from inference_server.detector.factory import SelfTestFailed
from inference_server.detector.weights import WeightsError
from inference_server.dispatch.shared import LayoutMismatch
from inference_server.supervision.control import BootFailed, WorkerEnd
from utils.logs import fields

logger = logging.getLogger(__name__)

EXIT_BOOT_FAILURE = 3

_LONGEST_REASON = 500

# Their messages say to the operator what to do; neither a class nor a traceback would add to that.
_CLEAR = (EngineUnavailable, WeightsError)

# What the next worker would find just the same. Anything else, such as want of memory, may pass.
_PERMANENT = (*_CLEAR, LayoutMismatch, SelfTestFailed)


def fail(control: WorkerEnd, error: Exception) -> NoReturn:
    """Tell the supervisor, in one line, why this worker cannot boot, and whether any ever can, and end."""
    clear = isinstance(error, _CLEAR)
    reason = " ".join(f"{'' if clear else f'{type(error).__name__}: '}{error}".split())[:_LONGEST_REASON]
    logger.error("the worker cannot start", exc_info=None if clear else error, extra=fields(reason=reason))
    control.send(BootFailed(reason, permanent=isinstance(error, _PERMANENT)))
    sys.exit(EXIT_BOOT_FAILURE)
