"""Many pictures over streams of the asyncio client: `utils.blocking_stream`, awaited."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any

import grpc

from protos import infer_pb2 as pb
from utils.channel import error_of
from utils.domain import DetectRequest
from utils.window import FAREWELL_SECONDS, Ended, Event, Outcome, Picture, Window

Connect = Callable[[AsyncIterator[pb.PredictStreamRequest]], Any]
"""Begins a call of PredictStream with what it sends."""

_NOT_SENT = "Internal error from Core"

Requests = AsyncIterable[DetectRequest | bytes] | Iterable[DetectRequest | bytes]

Asked = asyncio.Future[DetectRequest | bytes | None]
Events = asyncio.Queue[Event | Asked]


class Sender:
    """Sends pictures over one stream after the other, one at a time.

    Args:
        connect: Begins a stream.
        events: Receives its answers, then its end.
    """

    def __init__(self, connect: Connect, events: Events) -> None:
        self._connect = connect
        self._events = events
        self._pictures: asyncio.Queue[Picture | None] | None = None
        self._call: Any = None
        self._reading: asyncio.Task[None] | None = None

    def send(self, picture: Picture) -> None:
        """Have it sent in its turn, if it is still wanted then; begins a stream where there is none."""
        if self._pictures is None:
            self._pictures = asyncio.Queue()
            self._call = self._connect(_requests(self._pictures))
            self._reading = asyncio.create_task(_read(self._call, self._pictures, self._events))
        self._pictures.put_nowait(picture)

    def ended(self) -> None:
        """The stream has ended."""
        self._pictures = None

    async def finish(self) -> None:
        """Say that no more is sent, and wait for a moment until the backend has ended the stream, too."""
        if self._pictures is not None and self._reading is not None:
            self._pictures.put_nowait(None)
            await asyncio.wait([self._reading], timeout=FAREWELL_SECONDS)

    def cancel(self) -> None:
        """Give up what is not answered; without effect on a stream that has ended."""
        if self._call is not None:
            self._call.cancel()


async def detect_many(connect: Connect, requests: Requests, window: Window) -> AsyncIterator[Outcome]:
    """Find the faces in each picture.

    Args:
        connect: Begins a stream.
        requests: The pictures; the next one is asked for while the window wants more.
        window: An empty one.
    """
    events: Events = asyncio.Queue()
    source = _each(requests)
    sender = Sender(connect, events)
    asked: Asked | None = None
    try:
        while not window.is_done:
            if window.wants_more and asked is None:
                asked = asyncio.ensure_future(anext(source, None))
                asked.add_done_callback(events.put_nowait)
            for picture in window.take_due():
                sender.send(picture)
            event = await _next(events, window.seconds())
            if isinstance(event, asyncio.Future):
                asked = None
                window.add(event.result())
            elif event is not None and window.take(event):
                sender.ended()
            window.end_late()
            while window.outcomes:
                yield window.outcomes.popleft()
        await sender.finish()
    finally:
        sender.cancel()
        if asked is not None:
            asked.cancel()


async def _each(requests: Requests) -> AsyncIterator[DetectRequest | bytes]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


async def _next(events: Events, seconds: float | None) -> Event | Asked | None:
    try:
        async with asyncio.timeout(seconds):
            return await events.get()
    except TimeoutError:
        return None


async def _requests(pictures: "asyncio.Queue[Picture | None]") -> AsyncIterator[pb.PredictStreamRequest]:
    while (picture := await pictures.get()) is not None:
        request = picture.to_send()
        if request is not None:
            yield request


async def _read(call: Any, pictures: "asyncio.Queue[Picture | None]", events: Events) -> None:  # noqa: ANN401
    try:
        async for reply in call:
            events.put_nowait(reply)
    except grpc.aio.AioRpcError as error:
        # gRPC's word for a message that could not be sent; it hides what the stream has ended with.
        events.put_nowait(Ended(None if error.details() == _NOT_SENT else error_of(error)))
    except asyncio.CancelledError:  # of the call, whose end nobody waits for any more
        pass
    else:
        events.put_nowait(Ended(None))
    finally:
        pictures.put_nowait(None)  # else gRPC would wait for another one
