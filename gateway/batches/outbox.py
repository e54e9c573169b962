"""Answers that wait for a client which may not take any until it has sent its whole request."""

import os
import tempfile
import threading
from collections import deque
from typing import IO

MEMORY_BYTES = 8 * 1024**2
"""Of answers that wait; what is beyond that waits in a file without a name."""

Answer = tuple[int, bytes]
"""The index of a picture, and its line."""


class Outbox:
    """Answers in the order in which they came; many threads put them in, one takes them out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[tuple[int, bytes | int]] = deque()
        """Index and line, or the length of a line that is in the file."""
        self._in_memory = 0
        self._file: IO[bytes] | None = None
        self._written = self._read = 0
        self._begun = self._ended = False
        self._failure: Exception | None = None

    def put(self, index: int, line: bytes) -> None:
        """Add an answer; nothing happens once it has ended.

        Raises:
            OSError: There is no room for it.
        """
        with self._changed:
            if self._ended:
                return
            if self._in_memory + len(line) <= MEMORY_BYTES:
                self._in_memory += len(line)
                self._waiting.append((index, line))
            else:
                self._write(line)
                self._waiting.append((index, len(line)))
            self._begun = True
            self._changed.notify()

    def end(self, failure: Exception | None = None) -> None:
        """Say that no more will come, and what is to be raised behind the last one, if anything is."""
        with self._changed:
            if not self._ended:
                self._ended, self._failure = True, failure
            self._changed.notify()

    def end_unless_begun(self, failure: Exception) -> bool:
        """End it with a failure if no answer has come; gives whether that was so."""
        with self._changed:
            if not self._begun:
                self.end(failure)
            return not self._begun

    def close(self) -> None:
        """Drop what waits."""
        with self._changed:
            self._waiting.clear()
            self._ended = True
            if self._file is not None:
                self._file.close()
            self._changed.notify()

    def take(self) -> Answer | None:
        """Wait for the next answer; None where there is none left.

        Raises:
            Exception: The failure that it has ended with.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            if self._waiting:
                index, line = self._waiting.popleft()
                if isinstance(line, int):
                    return index, self._take_from_file(line)
                self._in_memory -= len(line)
                return index, line
            if self._failure is not None:
                raise self._failure
            return None

    def _write(self, line: bytes) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this
        rest = memoryview(line)
        while rest:
            written = os.pwrite(self._file.fileno(), rest, self._written)
            self._written += written
            rest = rest[written:]

    def _take_from_file(self, length: int) -> bytes:
        assert self._file is not None
        line = os.pread(self._file.fileno(), length, self._read)
        self._read += length
        if self._read == self._written:
            os.ftruncate(self._file.fileno(), 0)
            self._read = self._written = 0
        return line
