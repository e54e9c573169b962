"""A secret in a file, which is read again whenever the file changes."""

import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from utils.files import FileState, state_of
from utils.logs import fields

logger = logging.getLogger(__name__)

_LONGEST = 4096


class SecretUnusable(Exception):
    """The file is no secret; the message says why, without the file's name."""


@dataclass(frozen=True, slots=True)
class _Content:
    """What was read: the last secret that was one, at which state of the file, and why there is none now."""

    secret: str = ""
    of: FileState | None = None
    trouble: str = ""


class SecretFile:
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
            SecretUnusable: It cannot be read, is empty or no ASCII, or others can read it.
        """
        if trouble := self._look().trouble:
            raise SecretUnusable(trouble)

    def read(self) -> str:
        """The secret; while the file cannot be used the one that it had before, or an empty one."""
        return self._look().secret

    def _look(self) -> _Content:
        before, of = self._content, state_of(self._path)
        if of is not None and of == before.of:
            return before
        try:
            now = _Content(_read(self._path), of)
        except SecretUnusable as error:
            now = _Content(before.secret, of, str(error))
            if now.trouble != before.trouble:
                told = fields(path=str(self._path), reason=now.trouble, kept=bool(before.secret))
                logger.error("key file not usable", extra=told)
        self._content = now
        return now


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
                raise SecretUnusable(
                    "others than its owner and group can use it; take that from them by `chmod o=`"
                )
            secret = file.read(_LONGEST + 1).strip()
    except OSError as error:
        raise SecretUnusable(f"it cannot be read: {error.strerror}") from error
    if not secret:
        raise SecretUnusable("it is empty")
    if len(secret) > _LONGEST:
        raise SecretUnusable(f"it has more than {_LONGEST} bytes")
    if not all(0x21 <= byte <= 0x7E for byte in secret):  # noqa: PLR2004 - visible ASCII
        raise SecretUnusable("it has other characters than visible ASCII")
    return secret.decode()
