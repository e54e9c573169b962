"""Where results go: standard output, or a file that a later run can go on with."""

import fcntl
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click

from cli.detect.formats import Format
from cli.detect.pictures import Key
from cli.detect.records import Record, from_json
from cli.failure import Failure


@dataclass(frozen=True, slots=True)
class Done:
    """What a file of results has already: pictures, and how many of them failed."""

    keys: AbstractSet[Key] = frozenset()
    failed: int = 0


class Output:
    """Results as they come, each whole, in a form.

    Args:
        form: The form.
        file: Takes bytes.
    """

    def __init__(self, form: Format, file: IO[bytes]) -> None:
        self._form, self._file = form, file

    def begin(self) -> None:
        """Write what comes before all results."""
        self._write(self._form.head)

    def add(self, record: Record) -> None:
        """Write what came of a picture. Whatever ends this process later, it is there."""
        self._write(self._form.lines(record))

    def _write(self, text: str) -> None:
        self._file.write(text.encode(self._form.encoding, self._form.errors))
        self._file.flush()


def open_output(path: Path) -> IO[bytes]:
    """Open a file of results for reading and for writing at its end, for this process alone.

    Raises:
        Failure: Another process writes it.
        OSError: It cannot be opened.
    """
    file = path.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise Failure("FILE_ERROR", f"{path} is being written by another process") from error
    return file


def start_anew(file: IO[bytes], path: Path, *, force: bool) -> None:
    """Empty a file of results, which must be empty unless `force` is given."""
    if file.seek(0, 2) and not force:
        raise click.UsageError(f"{path} is not empty: --resume goes on with it, --force replaces it.")
    file.truncate(0)


def go_on(file: IO[bytes], path: Path) -> Done:
    """What a file of results has; a last line without its end, which was cut when it was written, is removed.

    Raises:
        Failure: It is no result in NDJSON.
    """
    keys: set[Key] = set()
    failed = whole = 0
    file.seek(0)
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            break
        try:
            key, found = from_json(line)
        except ValueError as error:
            raise Failure("FILE_ERROR", f"{path} cannot be gone on with: line {number}: {error}") from error
        failed += not found
        keys.add(key)
        whole += len(line)
    file.truncate(whole)
    return Done(keys, failed)
