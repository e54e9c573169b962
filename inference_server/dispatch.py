"""From the event loop that receives a request to the thread that detects, and back.

Here each worker detects what it received itself, one request at a time, in the order of their arrival.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from inference_server.admission import Admission, Load
from utils.domain import Detection, DetectRequest
from utils.errors import DeadlineExceeded, FacetError, InternalError
from utils.logs import fields

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One request on its way to a detector.

    `received` and `deadline` are times of the monotonic clock, which all processes of a machine share.
    """

    request: DetectRequest
    load: Load
    received: float
    deadline: float
    request_id: str


class Abandoned(Exception):
    """The caller of a job has gone; nobody wants its answer."""


Checkpoint = Callable[[], None]
Detect = Callable[[Job, Checkpoint], Detection]
"""Computes a job's answer; calls the checkpoint now and then, which raises where it shall stop."""


class _Ticket:
    """A job with the place its answer goes to."""

    def __init__(self, job: Job, answer: "asyncio.Future[Detection]") -> None:
        self.job = job
        self.answer = answer
        self.abandoned = False

    def check(self) -> None:
        """Raise where there is no point in going on."""
        if self.abandoned:
            raise Abandoned
        if time.monotonic() > self.job.deadline:
            raise DeadlineExceeded("The request's time ran out while it was computed.")


class Dispatch:
    """Runs jobs on the one detector thread of this process.

    Args:
        detect: Computes an answer, on the detector thread.
        admission: Decides what may wait.
        on_death: Called on the detector thread when it ends by a fault of its own.
    """

    def __init__(self, detect: Detect, admission: Admission, on_death: Callable[[], None]) -> None:
        self._detect = detect
        self._admission = admission
        self._on_death = on_death
        self._tickets: queue.SimpleQueue[_Ticket | None] = queue.SimpleQueue()
        self._waiting = Load()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="detector", daemon=True)
        self._thread.start()

    async def detect(self, job: Job) -> Detection:
        """Have a job computed.

        Raises:
            QueueFull: Too much is waiting.
            DeadlineExceeded: Its time ran out, or would before its answer.
            FacetError: What the picture's decoding or the detection raised.
        """
        self._admission.admit(self._waiting, job.load, job.deadline - time.monotonic())
        ticket = _Ticket(job, self._loop.create_future())
        self._waiting += job.load
        self._tickets.put(ticket)
        try:
            return await ticket.answer
        finally:
            ticket.abandoned = True
            self._waiting -= job.load

    def close(self) -> None:
        """End the detector thread after what it has in hand."""
        self._tickets.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while (ticket := self._tickets.get()) is not None:
                self._compute(ticket)
        except BaseException:
            logger.exception("the detector thread died")
            self._on_death()
            raise

    def _compute(self, ticket: _Ticket) -> None:
        started = time.monotonic()
        answer: Detection | FacetError
        try:
            ticket.check()
            answer = self._detect(ticket.job, ticket.check)
        except Abandoned:
            return
        except FacetError as error:
            answer = error
        except Exception:
            logger.exception("detection failed", extra=fields(request_id=ticket.job.request_id))
            answer = InternalError()
        else:
            self._admission.learn(ticket.job.load, time.monotonic() - started)
        self._loop.call_soon_threadsafe(_deliver, ticket.answer, answer)


def _deliver(future: "asyncio.Future[Detection]", answer: Detection | FacetError) -> None:
    if future.done():  # its caller has gone
        return
    if isinstance(answer, FacetError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
