"""A secret in a file, which callers must name: read again whenever the file changes."""

import hmac
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from utils.logs import fields

logger = logging.getLogger(__name__)

_LONGEST = 4096


class TokenUnusable(Exception):
    """The file is no secret; the message says why, without the file's name."""


@dataclass(frozen=True, slots=True)
class _Content:
    """What was read: at which state of the file, the secret, and why there is none."""

    of: tuple[int, ...] = ()
    token: bytes = b""
    trouble: str = ""


class TokenFile:
    """The secret of a file, without white space at its ends. Threads may share it.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = _Content()

    def check(self) -> None:
        """Look whether it can be used.

        Raises:
            TokenUnusable: It cannot be read, is empty, or others can read it.
        """
        if trouble := self._look().trouble:
            raise TokenUnusable(trouble)

    def accepts(self, token: str) -> bool:
        """Whether this is the token; while the file cannot be used, none is. Takes the same time for any."""
        content = self._look()
        return hmac.compare_digest(token.encode(), content.token) and bool(content.token)

    def _look(self) -> _Content:
        before = self._content
        try:
            about = self._path.stat()
            of = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
            if of == before.of:
                return before
            now = _read(self._path, of)
        except OSError as error:
            now = _Content(trouble=f"it cannot be read: {error.strerror}")
        if now.trouble and now.trouble != before.trouble:
            told = fields(path=str(self._path), reason=now.trouble)
            logger.error("token file not usable", extra=told)
        self._content = now
        return now


def _read(path: Path, of: tuple[int, ...]) -> _Content:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
            why = "others than its owner and group can use it; take that from them by `chmod o=`"
            return _Content(of, trouble=why)
        token = file.read(_LONGEST + 1).strip()
    if not token:
        return _Content(of, trouble="it is empty")
    if len(token) > _LONGEST:
        return _Content(of, trouble=f"it has more than {_LONGEST} bytes")
    return _Content(of, token)
