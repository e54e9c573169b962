"""The pictures of one request, read while they arrive, each answered by a call of its own."""

import contextlib
import io
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from gateway.backend import Backend
from gateway.batches import lines
from gateway.batches.counts import Counts
from gateway.batches.outbox import Answer, Outbox
from gateway.batches.room import MOST_ITEMS, Room
from gateway.context import Patience, RequestContext, out_of_time
from gateway.forms.batch_form import BatchForm, PictureFile
from gateway.problems import unexpected
from utils.cancellation import Cancellation
from utils.domain import Detection, DetectRequest
from utils.errors import (
    BackendUnavailable,
    Cancelled,
    FacetError,
    ImageEmpty,
    ImageTooLarge,
    InternalError,
    Overloaded,
)
from utils.logs import fields

_PIECE = 256 * 1024

_log = logging.getLogger("gateway")


class Batch:
    """One batch. `results` gives what comes of it; `close` ends it, wherever it is.

    Args:
        backend: Answers each picture.
        context: Of its request.
        patience: The time of each picture, counted from its last byte.
        room: How many there may be at once.

    Attributes:
        counts: What has come of it so far.
    """

    def __init__(self, backend: Backend, context: RequestContext, patience: Patience, room: Room) -> None:
        self._backend, self._context, self._patience = backend, context, patience
        self._outbox, self._room = Outbox(), room
        self._threads = ThreadPoolExecutor(MOST_ITEMS + 1, "batch")
        self._lock = threading.Lock()
        self._calls: set[Cancellation] = set()
        self._given_up = threading.Event()
        self._is_away = False
        self.counts = Counts()

    def results(self, body: io.BufferedIOBase, form: BatchForm) -> Iterator[Answer]:
        """Begin, and give the line of each picture, with its index, as soon as it is there.

        Args:
            body: Read by another thread, and closed where no more of it is wanted.
            form: How to read it.

        Raises:
            FacetError: The batch cannot be read, or not to its end; in the latter case once those pictures
                that were are answered, unless none is when that is found.
        """
        self._context.arrival.client.on_disconnect(self._give_up)
        self._threads.submit(self._read, body, form)
        while (answer := self._outbox.take()) is not None:
            yield answer

    def close(self) -> None:
        """Give up what is not answered, and let the threads end."""
        self._give_up()
        self._outbox.close()
        self._threads.shutdown(wait=False)

    def _give_up(self) -> None:
        self._given_up.set()
        self._room.close()
        self._outbox.end(Cancelled("The caller went away."))
        with self._lock:
            for call in self._calls:
                call.cancel()

    # --- in the thread that reads ---

    def _read(self, body: io.BufferedIOBase, form: BatchForm) -> None:
        failure: FacetError | None = None
        try:
            with contextlib.closing(body):
                for picture in form.pictures(self._pieces(body)):
                    self._begin(picture, self._room.enter())
        except Exception as error:  # noqa: BLE001 - told by the last line, or in the place of all
            failure = self._told(error)
            if self._outbox.end_unless_begun(failure):
                self._give_up()
        try:
            self._room.wait_until_empty()
        except Cancelled as error:
            failure = error
        self._outbox.end(failure)

    def _pieces(self, body: io.BufferedIOBase) -> Iterator[bytes]:
        while piece := body.read1(_PIECE):
            self.counts.body_bytes += len(piece)
            yield piece

    def _begin(self, picture: PictureFile, places: int) -> None:
        """Read a picture, for which `Room.enter` gave `places`, and have another thread get its answer."""
        size, submitted = 0, False

        def add(more: int) -> None:
            nonlocal size
            self._room.add(more)
            size += more

        try:
            request = picture.read(add)
            self.counts.bytes += size
            self._threads.submit(self._answer, picture, request, size, places)
            submitted = True
        except (ImageEmpty, ImageTooLarge) as error:
            self._put(picture, error)
        finally:
            if not submitted:
                self._room.leave(size)

    # --- in a thread of its own ---

    def _answer(self, picture: PictureFile, request: DetectRequest, size: int, places: int) -> None:
        try:
            outcome = self._outcome(request)
            self._room.learn(places, outcome)
            self._put(picture, outcome)
        except Exception as error:  # noqa: BLE001 - such as no room in the file: the batch cannot be whole
            self._outbox.end(self._told(error))
            self._give_up()
        finally:
            self._room.leave(size)

    def _outcome(self, request: DetectRequest) -> Detection | FacetError:
        cancellation, span = Cancellation(), self._context.span.child("item")
        with self._lock:
            self._calls.add(cancellation)
        try:
            if self._given_up.is_set():
                cancellation.cancel()
            return self._detect(request, cancellation, span.traceparent or self._context.traceparent)
        except Exception as error:  # noqa: BLE001 - an answer like any other
            failure = self._told(error)
            span.fail(failure.reason, fault=failure.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR)
            return failure
        finally:
            span.end()
            with self._lock:
                self._calls.discard(cancellation)

    def _detect(self, request: DetectRequest, cancellation: Cancellation, traceparent: str) -> Detection:
        """Call the backend; again, in time, where it is away, or it or the key's limit has no room."""
        until = time.monotonic() + self._patience.seconds
        arrival, admitted = self._context.arrival, False
        while (left := until - time.monotonic()) > 0:
            try:
                if not admitted:
                    arrival.admit_item()
                    admitted = True
                detection = self._backend.detect(
                    request,
                    timeout=left,
                    timeout_named=self._patience.named,
                    request_id=self._context.request_id,
                    traceparent=traceparent,
                    tracestate=self._context.tracestate,
                    caller=arrival.caller.name,
                    cancellation=cancellation,
                )
            except (Overloaded, BackendUnavailable) as failure:
                self._given_up.wait(self._delay(failure, until))
            else:
                self._is_away = False
                return detection
        raise out_of_time(self._patience.seconds)

    def _delay(self, failure: Overloaded | BackendUnavailable, until: float) -> float:
        """Seconds after which a picture is sent again.

        Raises:
            Overloaded, BackendUnavailable: It is not: its time would be over, or the backend has been away
                for the whole time of another one, and none was answered since.
        """
        is_away, delay = isinstance(failure, BackendUnavailable), failure.retry_after
        if delay is None or time.monotonic() + delay >= until or (is_away and self._is_away):
            self._is_away |= is_away
            raise failure
        return delay

    # --- in either ---

    def _put(self, picture: PictureFile, outcome: Detection | FacetError) -> None:
        """Add the answer to a picture, unless nobody waits for it."""
        if self._given_up.is_set():
            return
        if isinstance(outcome, Detection):
            line = lines.found(picture.index, picture.name, outcome)
        else:
            line = lines.failed(picture.index, picture.name, outcome, self._context.request_id)
            self._log_failure(picture, outcome)
        self._outbox.put(picture.index, line)
        with self._lock:
            self.counts.add(outcome)

    def _told(self, error: Exception) -> FacetError:
        return error if isinstance(error, FacetError) else unexpected(error, self._context.request_id)

    def _log_failure(self, picture: PictureFile, failure: FacetError) -> None:
        _log.log(
            logging.ERROR if isinstance(failure, InternalError) else logging.INFO,
            "batch item failed",
            extra=fields(
                request_id=self._context.request_id,
                traceparent=self._context.traceparent or None,
                item=picture.index,
                status=failure.http_status,
                reason=failure.reason,
                cause=failure.cause or None,
            ),
        )
