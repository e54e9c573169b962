"""The log line of a request to the admin process, whatever carried it."""

import logging
import time

from utils.errors import FacetError, InternalError
from utils.logs import fields

logger = logging.getLogger(__name__)


def log_request(
    began: float, failure: FacetError | None, *, reads: bool, request_id: str, **line: object
) -> None:
    """Write it: at DEBUG for one that has only read, at ERROR for a fault of ours.

    Args:
        began: When the request did, of the monotonic clock.
        failure: With what it was answered; None where it was done.
        reads: Whether it changes nothing.
        request_id: Its id.
        line: Other fields.
    """
    level = logging.DEBUG if reads and failure is None else logging.INFO
    if isinstance(failure, InternalError):
        level = logging.ERROR
    reason = None if failure is None else failure.reason
    elapsed = round((time.monotonic() - began) * 1000, 3)
    values = fields(request_id=request_id, **line, reason=reason, elapsed_ms=elapsed)
    logger.log(level, "management request", extra=values)
