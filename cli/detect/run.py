"""A run over many pictures, from the first to its summary and its exit status."""

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from cli.detect.files import write_files
from cli.detect.options import Asked
from cli.detect.output import Done, Output
from cli.detect.pictures import Outcome, PictureFile, Pictures, Problem
from cli.detect.progress import Progress
from cli.detect.records import Record, without_pictures
from cli.text import duration

_INTERRUPTED = 128
"""Added to the number of a signal it is the exit status of what that has ended, as shells have it."""
_STDERR = 2


class Finder(Protocol):
    """What finds faces."""

    def find(self, pictures: Iterable[PictureFile]) -> Iterator[tuple[PictureFile, Outcome]]:
        """What comes of each picture, in the order in which they are done."""


class Run:
    """One run.

    Args:
        pictures: Those to be searched.
        before: What earlier runs have done of them.
        asked: What is asked of each picture.
        output: Takes the results.
        progress: Shows how far it is.
        shares_terminal: Whether the results are on the terminal of the progress.
        can_resume: Whether another run can go on with its results.
    """

    def __init__(
        self,
        pictures: Pictures,
        before: Done,
        asked: Asked,
        output: Output,
        progress: Progress,
        *,
        shares_terminal: bool,
        can_resume: bool,
    ) -> None:
        self._pictures, self._before, self._asked = pictures, before, asked
        self._output, self._progress = output, progress
        self._shares_terminal, self._can_resume = shares_terminal, can_resume
        self._started = time.monotonic()
        self._found = self._faces = 0
        self._reasons: Counter[str] = Counter()
        self._signal = 0

    def go(self, finder: Finder) -> int:
        """Search all pictures; gives the exit status.

        After a first signal, those that were begun are finished; a second one cuts them.
        """
        with _signals(self._stop):
            try:
                for picture, outcome in finder.find(self._pictures):
                    self._take(picture, outcome)
            except KeyboardInterrupt:
                pass
        if self._signal:
            return _INTERRUPTED + self._signal
        return 1 if self._reasons or self._before.failed else 0

    def summary(self) -> str:
        """What has been done, in a line."""
        seconds = time.monotonic() - self._started
        new = self._found + self._reasons.total()
        counts = [f"{self._found} searched, {_counted(self._faces, 'face')}"]
        if self._reasons:
            reasons = ", ".join(f"{reason} {count}" for reason, count in self._reasons.most_common())
            counts.append(f"{self._reasons.total()} failed ({reasons})")
        if self._pictures.left_out:
            counts.append(f"{self._pictures.left_out} were in the output{self._failed_before()}")
        left = self._pictures.count - self._pictures.left_out - new
        if left:
            counts.append(f"{left} are left")
        rate = f"{new / seconds:.1f} a second"
        how = " Once more, with --resume, goes on with it." if left and self._can_resume else ""
        pictures = _counted(self._pictures.count, "picture")
        return f"{pictures}: {'; '.join(counts)}. {duration(seconds)}, {rate}.{how}"

    def _failed_before(self) -> str:
        failed = self._before.failed
        return (
            f" ({failed} of its lines {'is a failure' if failed == 1 else 'are failures'})" if failed else ""
        )

    def _take(self, picture: PictureFile, outcome: Outcome) -> None:
        annotated = write_files(picture, outcome, self._asked)
        if self._shares_terminal:
            self._progress.clear()
        self._output.add(Record(picture, without_pictures(outcome), annotated))
        if isinstance(outcome, Problem):
            self._reasons[outcome.reason] += 1
        else:
            self._found += 1
            self._faces += len(outcome.faces)
        failed = self._reasons.total()
        new = self._found + failed
        self._progress.update(new + self._pictures.left_out, new, failed)

    def _stop(self, signum: int) -> None:
        if self._signal:
            raise KeyboardInterrupt
        self._signal = signum
        self._pictures.stop()
        # Not by sys.stderr, which may be in the middle of a line.
        os.write(_STDERR, b"\nfinishing what was begun; once more cuts it\n")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


@contextlib.contextmanager
def _signals(handle: Callable[[int], None]) -> Iterator[None]:
    """Have SIGINT and SIGTERM handled by this, for a time."""
    before = {
        signum: signal.signal(signum, lambda number, _frame: handle(number))
        for signum in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
