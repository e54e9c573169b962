"""POST /predict/batch: the faces in many pictures, each answered as soon as it is done."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from flask import Flask, Response, request

from gateway.answers import batch_response
from gateway.arrival import BodyRule, Environ
from gateway.backend import Backend
from gateway.batches import lines
from gateway.batches.batch import Batch
from gateway.batches.outbox import Answer
from gateway.batches.room import Room
from gateway.context import REQUEST_TIMEOUT, RequestContext, current, patience_of
from gateway.forms.batch_form import BatchForm, batch_form
from gateway.routes.backend_calls import Permits
from utils.errors import BatchAnswerTooLarge, BodyTooLarge, BodyTooSlow, FacetError
from utils.settings import Settings

LINES = "application/x-ndjson"
_ARRAY = "application/json"
PATH = "/predict/batch"
_LARGEST_ARRAY = 8 * 1024**2
"""Bytes of an answer that is one document."""
_IMAGES_AT_ONCE = 1.5
"""Of the largest that there may be: pictures of one batch that are held together have no more bytes, each of
which is in memory up to four times while it is sent to the backend."""


class BatchRoutes:
    """The view, and what it needs."""

    def __init__(self, backend: Backend, settings: Settings, permits: Permits) -> None:
        self._backend = backend
        self._settings = settings
        self._permits = permits

    def add_to(self, app: Flask) -> None:
        """Give the application its path."""
        app.add_url_rule(PATH, view_func=self.predict_batch, methods=["POST"])

    def predict_batch(self) -> Response:
        """Find the faces in each of the pictures that are sent.

        The answer begins with that to the first picture that is done; until then a failure has a status.
        """
        context = current()
        patience = patience_of(request.headers.get(REQUEST_TIMEOUT), self._settings)
        form = _form_of(request.environ, self._settings)
        room = Room(int(_IMAGES_AT_ONCE * self._settings.max_image_bytes), patience.seconds)
        with ExitStack() as held:
            held.enter_context(self._permits.one())
            batch = Batch(self._backend, context, patience, room)
            held.callback(_note, context, batch)
            held.callback(batch.close)
            results = batch.results(request.environ["wsgi.input"], form)
            if request.accept_mimetypes.best_match((LINES, _ARRAY)) == _ARRAY:
                return batch_response(_within_limit(results))
            answer = _lines(batch, results, context)
            first = next(answer)
            response = Response(_with_first(first, answer), content_type=LINES)
            response.headers["X-Accel-Buffering"] = "no"  # what nginx and its like go by
            response.call_on_close(held.pop_all().close)
            return response


def _within_limit(results: Iterator[Answer]) -> list[Answer]:
    """All results, as long as they fit into one document.

    Raises:
        BatchAnswerTooLarge: They do not.
    """
    taken: list[Answer] = []
    size = 0
    for answer in results:
        taken.append(answer)
        size += len(answer[1])
        if size > _LARGEST_ARRAY:
            raise BatchAnswerTooLarge(
                f"The answers have more than {_LARGEST_ARRAY} bytes, which is too much for one document. "
                f"Take them line by line (Accept: {LINES}), or send fewer pictures in a batch."
            )
    return taken


def _lines(batch: Batch, results: Iterator[Answer], context: RequestContext) -> Iterator[bytes]:
    """The lines of an answer; a failure before the first one is raised, and later the last line."""
    failure: FacetError | None = None
    begun = False
    try:
        for _, line in results:
            yield line + b"\n"
            begun = True
    except FacetError as error:
        if not begun:
            raise
        failure = error
        context.note(reason=error.reason, cause=error.cause or None)
    yield (
        lines.last(
            ok=batch.counts.ok,
            failed=batch.counts.failed,
            seconds=time.monotonic() - context.arrival.head_ended,
            failure=failure,
            request_id=context.request_id,
        )
        + b"\n"
    )


def _with_first(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others


def _note(context: RequestContext, batch: Batch) -> None:
    counts = batch.counts
    context.note(
        items=counts.ok + counts.failed,
        failed=counts.failed,
        faces=counts.faces,
        body_bytes=counts.body_bytes,
        bytes=counts.bytes,
    )


def body_rule(environ: Environ, settings: Settings) -> BodyRule | None:
    """As `gateway.app.Gateway.body_rules`."""
    if (environ["REQUEST_METHOD"], environ["PATH_INFO"]) != ("POST", PATH):
        return None
    _form_of(environ, settings)
    patience_of(environ.get("HTTP_X_REQUEST_TIMEOUT"), settings)
    seconds = settings.body_seconds * settings.max_batch_items
    late = f"The body of the batch did not arrive within {seconds:g} s."
    return BodyRule(
        settings.max_batch_bytes,
        partial(_too_large, most=settings.max_batch_bytes),
        seconds,
        lambda: BodyTooSlow(late),
        piped=True,
    )


def _too_large(actual: str, most: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The body has {actual} bytes; a batch may have {most} (FACET_MAX_BATCH_BYTES). Send fewer pictures."
    )


def _form_of(environ: Environ, settings: Settings) -> BatchForm:
    return batch_form(
        environ.get("CONTENT_TYPE"),
        environ.get("HTTP_CONTENT_ENCODING"),
        environ.get("QUERY_STRING", ""),
        lambda: environ.get("HTTP_HOST", ""),
        max_items=settings.max_batch_items,
        max_image_bytes=settings.max_image_bytes,
    )
