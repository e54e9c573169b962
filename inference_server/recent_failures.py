"""What went wrong lately, by the supervisor's own log lines: operators see them without a search."""

import logging
from collections import deque
from typing import Any

from utils.errors import without_folders
from utils.logs import fields_of

_KEPT = 20


class RecentFailures(logging.Handler):
    """Keeps the latest warnings and errors of this process."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._kept: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, without its traceback and without folders, which are for the log alone."""
        about = {name: without_folders(str(value)) for name, value in fields_of(record).items()}
        self._kept.append(
            {
                "time": record.created,
                "level": record.levelname.lower(),
                "message": without_folders(record.getMessage()),
                "fields": about,
            }
        )

    def latest(self) -> list[dict[str, Any]]:
        """Those that are kept, the newest first; times in seconds since 1970."""
        return list(reversed(self._kept))
