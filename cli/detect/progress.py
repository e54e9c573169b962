"""How far a command is, on a terminal."""

import shutil
import sys
import time

from cli.text import duration

_PERIOD = 0.1
_BAR = 24
_CLEAR = "\r\x1b[K"


class Progress:
    """A line at the bottom of the terminal of standard error; nothing where that is none.

    Args:
        total: How many there are.
        shown: Whether anything is to be shown.
    """

    def __init__(self, total: int, *, shown: bool) -> None:
        self._total = total
        self._shown = shown and sys.stderr.isatty()
        self._started = time.monotonic()
        self._drawn = 0.0

    def update(self, done: int, new: int, failed: int) -> None:
        """Draw it, unless it was drawn just now.

        Args:
            done: How many are done, with those that were before.
            new: How many of them in this run.
            failed: How many of them in vain.
        """
        now = time.monotonic()
        if not self._shown or now - self._drawn < _PERIOD:
            return
        self._drawn = now
        width = shutil.get_terminal_size().columns
        line = self._line(done, new, failed, now - self._started)
        sys.stderr.write(f"{_CLEAR}{line[: width - 1]}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove it, to make room for something else; the next update draws it again."""
        if self._shown and self._drawn:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
            self._drawn = 0.0

    def _line(self, done: int, new: int, failed: int, seconds: float) -> str:
        share = done / self._total if self._total else 1.0
        bar = "#" * int(share * _BAR)
        rate = new / seconds if seconds > 0 else 0.0
        left = duration((self._total - done) / rate) if rate else "?"
        failures = f"  {failed} failed" if failed else ""
        return f"[{bar:-<{_BAR}}] {done}/{self._total}  {rate:.1f}/s  {left} left{failures}"
