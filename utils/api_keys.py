"""API keys: a file of JSON that has each by its name and by the SHA-256 of its secret.

A secret is 256 random bits, so that nobody finds it by its hash, however fast that is: there is nothing to be
guessed, as there is of a password. The file is replaced as a whole, and never holds a secret.
"""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import re
import secrets
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

FORMAT: Final = 1
"""Raised whenever a release before this one could misunderstand the file."""

PREDICT, MANAGE, METRICS, GATEWAY = "predict", "manage", "metrics", "gateway"
SCOPES: Final = (PREDICT, MANAGE, METRICS, GATEWAY)
"""What a key may be for: calls of models; management, metrics included; metrics alone; to pass on the calls
of others, which were checked."""

PREFIX: Final = "facet_"
"""What a secret begins with, so that it is recognised where it should not be."""

KEY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a key may be called."""

MOST_KEYS: Final = 1000
MOST_BURST: Final = 10**6
_RATES: Final = (0.001, 1e6)
_SECRET_BYTES: Final = 32
_LARGEST: Final = 1 << 20
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MEMBERS: Final = {"name", "sha256", "scopes", "rate", "burst", "created"}


class KeysUnusable(Exception):
    """There is no file of keys, or it cannot be used; the message says why, without its name."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, without its secret.

    Attributes:
        name: Tells it from others, for people.
        digest: SHA-256 of the secret.
        scopes: What it is for; of SCOPES, one at least.
        rate: Requests a second that it may make in the long run; None: any number.
        burst: Requests that it may make at once; 0 where there is no rate.
        created: When it was made: a time by RFC 3339.
    """

    name: str
    digest: bytes
    scopes: frozenset[str]
    rate: float | None = None
    burst: int = 0
    created: str = ""

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            ValueError: It cannot be so; says what is accepted.
        """
        if not KEY_NAME.fullmatch(self.name):
            raise ValueError(
                f"name is {self.name[:80]!r}; accepted: 1 to 64 letters, digits, `.`, `_` and `-`, "
                "the first no mark"
            )
        if not self.scopes or not self.scopes <= {*SCOPES}:
            raise ValueError(f"scopes are {sorted(self.scopes)}; accepted: some of {', '.join(SCOPES)}")
        if self.rate is None:
            if self.burst:
                raise ValueError(f"burst is {self.burst}; accepted without a rate: none")
            return
        low, high = _RATES
        if not low <= self.rate <= high:
            raise ValueError(f"rate is {self.rate:g}; accepted: a number from {low:g} to {high:g}")
        if not 1 <= self.burst <= MOST_BURST:
            raise ValueError(f"burst is {self.burst}; accepted: a whole number from 1 to {MOST_BURST}")
        if GATEWAY in self.scopes:
            raise ValueError(f"rate is {self.rate:g}; accepted with the scope {GATEWAY}: none")


def new_key(name: str, scopes: Iterable[str], rate: float | None, burst: int | None) -> tuple[ApiKey, str]:
    """A key that there was not before, and its secret, which nothing else has.

    Args:
        name: Its name.
        scopes: What it is for.
        rate: Requests a second; None: any number.
        burst: Requests at once; None: those of a second, one at least.

    Raises:
        ValueError: There can be no such key.
    """
    secret = f"{PREFIX}{secrets.token_urlsafe(_SECRET_BYTES)}"
    if burst is None:
        burst = 0 if rate is None or math.isnan(rate) else max(1, math.ceil(min(rate, MOST_BURST)))
    created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return ApiKey(name, digest_of(secret), frozenset(scopes), rate, burst, created), secret


def digest_of(secret: str) -> bytes:
    """By what a key is found."""
    return hashlib.sha256(secret.encode("utf-8", "backslashreplace")).digest()


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a file.

    Raises:
        KeysUnusable: It cannot be read, is damaged or of another format, or others can use it.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
                raise KeysUnusable(
                    "others than its owner and group can use it; take that from them by `chmod o=`"
                )
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise KeysUnusable(f"it cannot be read: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise KeysUnusable(f"it has more than {_LARGEST} bytes")
    try:
        values = json.loads(content)
        if values["format"] != FORMAT:
            raise KeysUnusable(f"it is of format {values['format']!r}; accepted: {FORMAT}")
        keys = tuple(_decode(one) for one in values["keys"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise KeysUnusable(f"it is damaged: {_first_line(error)}") from error
    _check_together(keys)
    return keys


@contextlib.contextmanager
def changing(path: Path) -> Iterator[None]:
    """Have a file of keys to oneself, from before it is read until after it is written.

    Raises:
        OSError: There is no such folder.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def write_keys(path: Path, keys: Iterable[ApiKey]) -> None:
    """Replace a file of keys; one that there was keeps its mode and its group.

    Raises:
        KeysUnusable: There are too many, or two of one name.
        OSError: It cannot be written, and is what it was.
    """
    kept = tuple(keys)
    _check_together(kept)
    content = json.dumps({"format": FORMAT, "keys": [_encode(key) for key in kept]}, indent=1)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)  # of one who was killed
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w") as file:  # noqa: PTH123 - a descriptor
            with contextlib.suppress(FileNotFoundError):
                before = path.stat()
                os.fchown(file.fileno(), -1, before.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
            file.write(f"{content}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check_together(keys: tuple[ApiKey, ...]) -> None:
    if len(keys) > MOST_KEYS:
        raise KeysUnusable(f"it has {len(keys)} keys; accepted: {MOST_KEYS}")
    for what, values in (
        ("name", [key.name for key in keys]),
        ("sha256", [key.digest.hex() for key in keys]),
    ):
        value, count = max(Counter(values).items(), key=lambda pair: pair[1], default=("", 0))
        if count > 1:
            raise KeysUnusable(f"{count} keys have the {what} {value}")


def _decode(values: dict[str, Any]) -> ApiKey:
    """A key of its values.

    Raises:
        ValueError, KeyError, TypeError: They are none of a key.
    """
    unknown = next((name for name in values if name not in _MEMBERS), None)
    if unknown is not None:
        raise ValueError(f"a key has the member {unknown!r}; accepted: {', '.join(sorted(_MEMBERS))}")
    name, digest, scopes = values["name"], values["sha256"], values["scopes"]
    rate, burst = values.get("rate"), values.get("burst", 0)
    if not isinstance(name, str) or not isinstance(scopes, list):
        raise TypeError("a key's name is no text, or its scopes are no list")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"sha256 of {name[:80]!r} is no SHA-256 in 64 lower-case hexadecimal digits")
    if type(rate) not in {int, float, type(None)} or type(burst) is not int:
        raise TypeError(f"rate or burst of {name[:80]!r} is no number")
    rate = None if rate is None else float(rate)
    return ApiKey(name, bytes.fromhex(digest), frozenset(scopes), rate, burst, str(values.get("created", "")))


def _encode(key: ApiKey) -> dict[str, Any]:
    limit = {} if key.rate is None else {"rate": key.rate, "burst": key.burst}
    scopes = [scope for scope in SCOPES if scope in key.scopes]
    return {
        "name": key.name,
        "sha256": key.digest.hex(),
        "scopes": scopes,
        **limit,
        "created": key.created,
    }


def _first_line(error: Exception) -> str:
    text = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
    return text.partition("\n")[0]
