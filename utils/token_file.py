"""A secret in a file, which callers must name: read again whenever the file changes."""

import hmac
import logging
import os
import stat
from pathlib import Path

from utils.logs import fields

logger = logging.getLogger(__name__)

_LONGEST = 4096


class TokenUnusable(Exception):
    """The file is no secret; the message says why, without the file's name."""


class TokenFile:
    """The secret of a file, without white space at its ends.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: tuple[int, ...] | None = None
        self._token = b""
        self._trouble = ""

    def check(self) -> None:
        """Look whether it can be used.

        Raises:
            TokenUnusable: It cannot be read, is empty, or others can read it.
        """
        self._refresh()
        if self._trouble:
            raise TokenUnusable(self._trouble)

    def accepts(self, token: str) -> bool:
        """Whether this is the token; while the file cannot be used, none is. Takes the same time for any."""
        self._refresh()
        return hmac.compare_digest(token.encode(), self._token) and not self._trouble

    def _refresh(self) -> None:
        try:
            about = self._path.stat()
        except OSError as error:
            self._becomes_unusable(f"it cannot be read: {error.strerror}")
            return
        read_at = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
        if read_at != self._read_at:
            try:
                self._token, trouble = _read(self._path)
            except OSError as error:
                trouble = f"it cannot be read: {error.strerror}"
            self._read_at = read_at
            self._becomes_unusable(trouble)

    def _becomes_unusable(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            logger.error("token file not usable", extra=fields(path=str(self._path), reason=trouble))
            self._read_at = None
        self._trouble = trouble


def _read(path: Path) -> tuple[bytes, str]:
    """The token of a file, and why it cannot be used; else an empty text."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
            return b"", "others than its owner and group can use it; take that from them by `chmod o=`"
        token = file.read(_LONGEST + 1).strip()
    if not token:
        return b"", "it is empty"
    if len(token) > _LONGEST:
        return b"", f"it has more than {_LONGEST} bytes"
    return token, ""
