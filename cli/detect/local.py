"""Faces found by processes of the command's own, without a service and without ports."""

import contextlib
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Self

from cli.detect import local_worker
from cli.detect.local_worker import NotReady, Ready
from cli.detect.options import Asked
from cli.detect.pictures import Outcome, PictureFile, Problem
from cli.failure import Failure
from inference_server.models.conversion import prepare
from inference_server.supervision.processes import signals_held_back
from utils.errors import DeadlineExceeded, FacetError, WorkerCrashed
from utils.settings import Settings

_CRASHED = "The process that searched this picture ended in the middle of it: status {0}."
_TOO_LONG = "This picture was not done within {0:g} s (--timeout)."
_SECONDS = 5.0
_COMPUTING = "numpy"
"""A package that is there where faces can be found, and not where there are clients alone."""


class _Worker:
    """A process, and the picture that it has."""

    def __init__(self, asked: Asked) -> None:
        self.connection, other = multiprocessing.Pipe()
        self._process: SpawnProcess = multiprocessing.get_context("spawn").Process(
            target=local_worker.run, args=(other, os.getpid(), asked), daemon=True
        )
        with signals_held_back():
            self._process.start()
        other.close()
        self.picture: PictureFile | None = None
        self.deadline = math.inf
        self.is_ready = False

    def give(self, picture: PictureFile, seconds: float) -> None:
        """Have it search a picture, which may take that long."""
        self.picture, self.deadline = picture, time.monotonic() + seconds
        with contextlib.suppress(ConnectionError):  # it has ended, which is found when it should answer
            self.connection.send(picture)

    def done(self) -> None:
        """Take note that it has answered."""
        self.picture, self.deadline = None, math.inf

    def status(self) -> int | None:
        """The exit status of one whose connection has ended."""
        self._process.join(_SECONDS)
        return self._process.exitcode

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join()
        self.connection.close()


class LocalFinder:
    """Finds faces by processes of its own, each with one picture at a time.

    Args:
        count: How many processes.
        settings: By which they find faces.
        asked: What is asked of each picture.
        timeout: Seconds that each may take; a process that needs longer is ended and replaced.
        tell: Is given what the user should know of them, a line of text.

    Raises:
        Failure: They cannot find faces on this machine.
    """

    def __init__(
        self, count: int, settings: Settings, asked: Asked, timeout: float, tell: Callable[[str], None]
    ) -> None:
        if find_spec(_COMPUTING) is None:  # said here once, not by each process
            raise ModuleNotFoundError(name=_COMPUTING)
        if (reason := prepare(settings.cache_dir)) is not None:
            raise Failure("NOT_READY", reason)
        self._asked, self._timeout, self._tell = asked, timeout, tell
        self._workers = {worker.connection: worker for worker in (_Worker(asked) for _ in range(count))}

    def find(self, pictures: Iterable[PictureFile]) -> Iterator[tuple[PictureFile, Outcome]]:
        """What comes of each picture, in the order in which they are done.

        Raises:
            Failure: No process of its own can find faces.
        """
        left = iter(pictures)
        has_more = True
        while has_more or any(worker.picture for worker in self._workers.values()):
            for connection in wait([*self._workers], self._seconds_left()):
                assert isinstance(connection, Connection)
                worker = self._workers[connection]
                searched = worker.picture
                outcome = self._receive(worker)
                # Before the outcome is taken, so that the process does not wait for that.
                if has_more and worker.is_ready and connection in self._workers:
                    picture = next(left, None)
                    has_more = picture is not None
                    if picture is not None:
                        worker.give(picture, self._timeout)
                if searched is not None and outcome is not None:
                    yield searched, outcome
            yield from self._end_late()

    def _seconds_left(self) -> float | None:
        """Until the next picture has taken too long; None where no process has one."""
        next_one = min(worker.deadline for worker in self._workers.values())
        return None if next_one == math.inf else max(0.0, next_one - time.monotonic())

    def _end_late(self) -> Iterator[tuple[PictureFile, Outcome]]:
        """End the processes that have taken too long, and tell of their pictures."""
        now = time.monotonic()
        late = [worker for worker in self._workers.values() if worker.deadline <= now]
        for worker in late:
            if worker.connection.poll():  # it has answered meanwhile
                continue
            assert worker.picture is not None
            self._replace(worker)
            yield worker.picture, Problem(DeadlineExceeded.reason, _TOO_LONG.format(self._timeout))

    def _receive(self, worker: _Worker) -> Outcome | None:
        """What a process has to say: what came of its picture, if it has had one."""
        try:
            message = worker.connection.recv()
        except (EOFError, ConnectionError):
            return self._crashed(worker)
        match message:
            case NotReady(reason):
                raise Failure("NOT_READY", reason)
            case Ready(passed_over):
                worker.is_ready = True
                if passed_over:
                    self._tell(passed_over)
                return None
            case Problem():
                worker.done()
                return message
            case bytes():
                worker.done()
                return _outcome(message)
            case _:
                raise TypeError(f"a process has sent {message!r}")

    def _crashed(self, worker: _Worker) -> Problem:
        """Replace a process that has ended by itself."""
        status = worker.status()
        if not worker.is_ready:
            raise Failure("NOT_READY", f"A process to find faces by ended with status {status} at its start.")
        self._replace(worker)
        return Problem(WorkerCrashed.reason, _CRASHED.format(status))

    def _replace(self, worker: _Worker) -> None:
        """Start another process in the place of one, which is ended."""
        del self._workers[worker.connection]
        worker.end()
        another = _Worker(self._asked)
        self._workers[another.connection] = another

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers.values():
            worker.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _outcome(answer: bytes) -> Outcome:
    """What a packed answer says."""
    # Not sooner: the processes start meanwhile.
    from inference_server.models.encoding import unpack_answer  # noqa: PLC0415
    from protos import infer_pb2 as pb  # noqa: PLC0415
    from utils.codec import decode_detection  # noqa: PLC0415

    try:
        message, _ = unpack_answer(answer)
    except FacetError as error:
        return Problem.of(error)
    return decode_detection(pb.InferResults.FromString(message))
