"""TorchServe's tokens: keys in a file, one for each of its ports and one that renews them.

The file is JSON, as TorchServe's own key_file.json. The backend's start writes it, and whoever checks a token
reads it again whenever it has changed.
"""

import hmac
import json
import logging
import os
import secrets
import tempfile
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from utils.errors import TokenRefused
from utils.logs import fields
from utils.torchserve import UNAUTHORIZED

logger = logging.getLogger(__name__)

Port = Literal["management", "inference", "API"]
"""What a key is for: calls to one of the ports, or `API`, which is for renewing the other two."""

_LIFE = timedelta(hours=1)
"""Of a key, but for that of API, which has no end."""
_SCHEME = "Bearer "
_KEY_BYTES = 24


def write_keys(path: Path) -> None:
    """Have new keys in the file, which its owner alone can read.

    Raises:
        OSError: It cannot be written.
    """
    keys = {port: _new_key() for port in ("management", "inference")}
    _write(path, {**keys, "API": {"key": secrets.token_urlsafe(_KEY_BYTES)}})


class Tokens:
    """Checks the tokens of calls to one port. Threads may share it.

    Args:
        path: Of the file.
        port: Whose key is accepted.
    """

    def __init__(self, path: Path, port: Port) -> None:
        self._path = path
        self._port = port
        self._seen: tuple[int, int] | None = None
        self._keys: Mapping[str, Any] = {}
        self._trouble = ""
        self._renewing = threading.Lock()

    def for_port(self, port: Port) -> "Tokens":
        """Those of another port, in the same file."""
        return Tokens(self._path, port)

    def check(self, authorization: str | None) -> None:
        """Let a call pass that comes with the key.

        Args:
            authorization: What its header or metadata of that name says: `Bearer KEY`.

        Raises:
            TokenRefused: It says something else, or the key's time is over, or the file cannot be read.
        """
        try:
            own = self._read()[self._port]
            wanted, end = _SCHEME + own["key"], own.get("expiration time")
            fits = hmac.compare_digest(wanted.encode(), (authorization or "").encode())
            valid = fits and (end is None or datetime.fromisoformat(end) > datetime.now(UTC))
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._report(error)
            raise TokenRefused(UNAUTHORIZED) from error
        self._trouble = ""
        if not valid:
            raise TokenRefused(UNAUTHORIZED)

    def renew(self, port: Port) -> None:
        """Have another key for a port from now on.

        Raises:
            OSError, ValueError: The file cannot be read or written.
        """
        with self._renewing:  # else one renewal could bring back the key that another has replaced
            _write(self._path, {**self._read(), port: _new_key()})

    def _report(self, error: Exception) -> None:
        """Write once why the file lets nobody in; not what is in it."""
        trouble = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else "has no such key"
        if trouble != self._trouble:
            self._trouble = trouble
            told = fields(path=str(self._path), reason=f"{self._port}: it {trouble}")
            logger.error("token file not usable", extra=told)

    def _read(self) -> Mapping[str, Any]:
        status = self._path.stat()
        seen = (status.st_ino, status.st_mtime_ns)
        if seen != self._seen:
            self._keys = json.loads(self._path.read_bytes())
            self._seen = seen
        return self._keys


def _new_key() -> dict[str, str]:
    end = (datetime.now(UTC) + _LIFE).isoformat().replace("+00:00", "Z")
    return {"key": secrets.token_urlsafe(_KEY_BYTES), "expiration time": end}


def _write(path: Path, keys: Mapping[str, Any]) -> None:
    """Replace the file as a whole, so that nobody reads half of it."""
    descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(keys, file, indent=2)
        Path(made).replace(path)
    except BaseException:
        Path(made).unlink()
        raise
