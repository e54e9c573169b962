"""The keys of a file, looked at again while the process runs: what changes in it counts within a second."""

import logging
import time
from pathlib import Path
from typing import Final, NamedTuple

from utils.api_keys import ApiKey, KeysUnusable, digest_of, read_keys
from utils.errors import KeysUnavailable, KeyUnknown
from utils.files import FileState, state_of
from utils.logs import fields

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 1.0


class _Content(NamedTuple):
    """What was read last that could be: the keys by their digests; None where nothing ever could be."""

    keys: dict[bytes, ApiKey] | None = None
    of: FileState | None = None
    trouble: str = ""


class KeyRing:
    """Finds keys by their secrets. Threads may share it.

    A key is looked up by the SHA-256 of what the caller sent. How long that takes tells nothing of a secret:
    no part of one is compared with anything, and callers cannot choose the hash of what they send.

    A file that cannot be used any more changes nothing: the keys of before count, and the log says why.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = _Content()
        self._look_at = 0.0
        self._look()  # so that no request has to wait for it

    def find(self, secret: str) -> ApiKey:
        """The key that has a secret.

        Raises:
            KeyUnknown: There is none.
            KeysUnavailable: The file could not be used since this process began.
        """
        return self._of(digest_of(secret))

    def again(self, key: ApiKey) -> ApiKey:
        """A key as it is now.

        Raises:
            KeyUnknown: It was revoked.
        """
        return self._of(key.digest)

    def _of(self, digest: bytes) -> ApiKey:
        key = self._keys().get(digest)
        if key is None:
            raise KeyUnknown("The key is none that is known here: it was revoked, or never made.")
        return key

    def _keys(self) -> dict[bytes, ApiKey]:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._look()
        keys = self._content.keys
        if keys is None:
            raise KeysUnavailable(
                "No key can be checked now: the file of keys cannot be used.", retry_after=_RETRY_SECONDS
            )
        return keys

    def _look(self) -> None:
        before = self._content
        of = state_of(self._path)
        if of is not None and of == before.of:
            return
        try:
            keys = {key.digest: key for key in read_keys(self._path)}
        except KeysUnusable as error:
            if str(error) != before.trouble:
                told = fields(path=str(self._path), reason=str(error), kept=before.keys is not None)
                logger.error("key file not usable", extra=told)
            self._content = _Content(before.keys, of, str(error))
        else:
            self._content = _Content(keys, of)
