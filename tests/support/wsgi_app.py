"""A WSGI application for tests of what runs it, the gateway's gunicorn with the argument APPLICATION.

It prints, as log lines, what has come to it: `entered` with each path, `closed` with how many lines of a
streamed answer were asked for before it was closed.
"""

import hashlib
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from gateway.arrival import BodyRule
from utils.errors import BodyTooSlow, Cancelled, ImageTooLarge

APPLICATION = "tests.support.wsgi_app:app"
FOLDER = "WSGI_APP_FOLDER"
"""The environment variable that names a folder: what waits there waits for a file named `go`."""

PIPED = "/piped"
"""Under this path a body is read as it arrives."""

PIECE = 64 * 1024
_PATIENCE = 60.0


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI's
    """Do as the path says, with numbers from the query."""
    path = environ["PATH_INFO"]
    query = {name: int(values[0]) for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    _say("entered", path=path)
    if path == "/fail":
        raise ValueError("secret")
    if path == "/header":
        return _answer(start_response, [b"x"], X_Odd="secret\r\nX-Other: y")
    if path == "/wait":
        _wait()
    if path == "/large":
        size = query["bytes"]
        return _answer(
            start_response, itertools.repeat(bytes(PIECE), size // PIECE), Content_Length=str(size)
        )
    if path == "/stream":
        return _answer(start_response, Lines(**query))
    if path == f"{PIPED}/stream":
        pieces = iter(partial(environ["wsgi.input"].read, PIECE), b"")
        return _answer(start_response, (b"a line\n" for _ in pieces))
    if path == f"{PIPED}/part":
        environ["wsgi.input"].read(PIECE)
        environ["wsgi.input"].close()
        return _answer(start_response, itertools.repeat(bytes(PIECE), query["pieces"]))
    if path.startswith(PIPED):
        return _answer(start_response, [_summary(environ["wsgi.input"], waits=path.endswith("/wait"))])
    return _answer(start_response, [path.encode()], Content_Length=str(len(path)))


def body_rules(environ: dict[str, Any]) -> BodyRule | None:
    """What the server asks of an application: here, only bodies that are read as they arrive are wanted."""
    if not environ["PATH_INFO"].startswith(PIPED):
        return None
    return BodyRule(
        2**40,
        lambda came: ImageTooLarge(f"too large: {came}"),
        60.0,
        lambda: BodyTooSlow("too slow"),
        piped=True,
    )


app.body_rules = body_rules  # type: ignore[attr-defined] # as gateway.app.Gateway has it


class Lines:
    """A streamed answer: so many lines of so many bytes, each after so many milliseconds.

    Args:
        lines: How many.
        size: Bytes of each, the number and the line break included.
        pause: Milliseconds before each but the first.
        fail: The line in whose place it fails; 0 where it does not.
        mark: By which a test knows its own.
    """

    def __init__(self, lines: int, size: int = 16, pause: int = 0, fail: int = 0, mark: int = 0) -> None:
        self._given, self._mark = 0, mark
        self._lines, self._size, self._pause, self._fail = lines, size, pause, fail

    def __iter__(self) -> Iterator[bytes]:
        for number in range(self._lines):
            if number and number == self._fail:
                raise ValueError("secret")
            if number:
                time.sleep(self._pause / 1000)
            self._given += 1
            yield str(number).encode().ljust(self._size - 1) + b"\n"

    def close(self) -> None:
        """Tell how far it came."""
        _say("closed", mark=self._mark, lines=self._given)


def _summary(body: Any, *, waits: bool) -> bytes:  # noqa: ANN401 - WSGI's
    """Read a body piece by piece, behind the first one when it may; give its length and SHA-256."""
    digest, length = hashlib.sha256(), 0
    try:
        while piece := body.read(PIECE):
            if not length:
                _say("reading")
                if waits:
                    _wait()
            length += len(piece)
            digest.update(piece)
    except Cancelled:
        _say("cut off", bytes=length)
        raise
    _say("read", bytes=length)
    return json.dumps({"bytes": length, "sha256": digest.hexdigest()}).encode()


def _answer(start_response: Any, body: Iterable[bytes], **headers: str) -> Iterable[bytes]:  # noqa: ANN401
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    start_response(f"{HTTPStatus.OK.value} OK", [("Content-Type", "text/plain"), *named])
    return body


def _wait() -> None:
    give_up = time.monotonic() + _PATIENCE
    while not (Path(os.environ[FOLDER]) / "go").exists() and time.monotonic() < give_up:
        time.sleep(0.01)


def _say(message: str, **fields: object) -> None:
    sys.stderr.write(json.dumps({"message": message, **fields}) + "\n")
    sys.stderr.flush()
