"""Many pictures over streams of the blocking client."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from protos import infer_pb2 as pb
from utils.channel import error_of
from utils.domain import DetectRequest
from utils.window import FAREWELL_SECONDS, Ended, Event, Outcome, Picture, Window

Connect = Callable[[Iterator[pb.PredictStreamRequest]], Any]
"""Begins a call of PredictStream with what it sends."""


Events = queue.SimpleQueue[Event]


class Sender:
    """Sends pictures over one stream after the other, one at a time.

    Args:
        connect: Begins a stream.
        events: Receives its answers, then its end.
    """

    def __init__(self, connect: Connect, events: Events) -> None:
        self._connect = connect
        self._events = events
        self._pictures: queue.SimpleQueue[Picture | None] | None = None
        self._call: Any = None

    def send(self, picture: Picture) -> None:
        """Have it sent in its turn, if it is still wanted then; begins a stream where there is none."""
        if self._pictures is None:
            self._pictures = queue.SimpleQueue()
            self._call = self._connect(_requests(self._pictures))
            reading = (self._call, self._pictures, self._events)
            threading.Thread(target=_read, args=reading, daemon=True).start()
        self._pictures.put(picture)

    def ended(self) -> None:
        """The stream has ended."""
        self._pictures = None

    def finish(self) -> None:
        """Say that no more is sent, and wait for a moment until the backend has ended the stream, too."""
        if self._pictures is not None:
            self._pictures.put(None)
            _next(self._events, FAREWELL_SECONDS)

    def cancel(self) -> None:
        """Give up what is not answered; without effect on a stream that has ended."""
        if self._call is not None:
            self._call.cancel()


def detect_many(
    connect: Connect, requests: Iterable[DetectRequest | bytes], window: Window
) -> Iterator[Outcome]:
    """Find the faces in each picture.

    Args:
        connect: Begins a stream.
        requests: The pictures; the next one is asked for while the window wants more.
        window: An empty one.
    """
    events: Events = queue.SimpleQueue()
    source = iter(requests)
    sender = Sender(connect, events)
    try:
        while not window.is_done:
            if window.wants_more:
                window.add(next(source, None))
            for picture in window.take_due():
                sender.send(picture)
            if not window.is_empty:
                event = _next(events, 0.0 if window.wants_more else window.seconds())
                if event is not None and window.take(event):
                    sender.ended()
                window.end_late()
            while window.outcomes:
                yield window.outcomes.popleft()
        sender.finish()
    finally:
        sender.cancel()


def _next(events: Events, seconds: float | None) -> Event | None:
    try:
        return events.get(timeout=seconds)
    except queue.Empty:
        return None


def _requests(pictures: "queue.SimpleQueue[Picture | None]") -> Iterator[pb.PredictStreamRequest]:
    while (picture := pictures.get()) is not None:
        request = picture.to_send()
        if request is not None:
            yield request


def _read(call: Any, pictures: "queue.SimpleQueue[Picture | None]", events: Events) -> None:  # noqa: ANN401
    try:
        for reply in call:
            events.put(reply)
    except grpc.RpcError as error:
        events.put(Ended(error_of(error)))
    else:
        events.put(Ended(None))
    finally:
        pictures.put(None)  # else gRPC's thread would wait for another one
