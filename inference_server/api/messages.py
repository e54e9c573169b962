"""The messages of a call, received within its time and the limits of the worker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from inference_server.api.message_limits import (
    MIB,
    MOST_UNFINISHED_OF_HEALTH,
    MOST_UNFINISHED_OF_REFLECTION,
    Place,
    Places,
)
from utils.errors import BackendUnavailable, DeadlineExceeded, MalformedRequest, TooManyUnfinishedMessages
from utils.memory import trim_heap
from utils.status import RETRY_SECONDS

_TRIM_SECONDS = 5.0
_TRIMMED_BYTES = 16 * MIB
"""Bytes of given-up messages below which their memory is kept for the next requests."""
_CANCELLATION_SECONDS = 0.05

Parse = Callable[[bytes], Any] | None
"""Makes a message of its bytes; None leaves them as they are."""


def service_of(method: str) -> str:
    """The full name of the service in a method's path, `/service/name`."""
    return method[1:].partition("/")[0]


class MessageReceiver:
    """Receives messages for all calls of a worker, on its event loop.

    What it raises: MalformedRequest for what cannot be parsed, TooManyUnfinishedMessages where a message has
    no place or others need it, DeadlineExceeded where it did not arrive in time, BackendUnavailable to a
    stream when the worker leaves.

    Args:
        own: Names of the services whose messages are pictures, and not those of health or reflection.
        largest: Bytes of the longest of them.
        longest_seconds: Time that a message has where its call has no earlier deadline.
        models: Names of the services by which models are called.
        largest_for_models: Bytes of the longest message of theirs.
    """

    def __init__(
        self,
        own: Container[str],
        largest: int,
        longest_seconds: float,
        *,
        models: Container[str] = (),
        largest_for_models: int = 1,
    ) -> None:
        self._own = own
        self._of_models = models
        self._largest = max(largest, largest_for_models)  # gRPC's limit is the same for all
        self._pictures = Places.for_large(largest)
        self._models = Places.for_large(largest_for_models)
        self._streams = Places.for_streams()
        self._health = Places.for_small(MOST_UNFINISHED_OF_HEALTH)
        self._reflection = Places.for_small(MOST_UNFINISHED_OF_REFLECTION)
        self._longest_seconds = longest_seconds
        self._awaited: set[Place] = set()
        self._left = False
        self._given_up = 0
        self._trims = False

    async def only(self, method: str, context: Any, parse: Parse) -> Any:  # noqa: ANN401 - what grpc gives and takes
        """The message of a call that must have one, and no more."""
        return _parsed(await self._receive(self._places_for(method), context, _read_only), parse)

    async def each(self, method: str, context: Any, parse: Parse) -> AsyncIterator[Any]:  # noqa: ANN401
        """The messages of a call, as they arrive."""
        places = self._places_for(method, stream=True)
        while (raw := await self._receive(places, context, _read, stream=True)) is not None:
            yield _parsed(raw, parse)

    def leave(self) -> None:
        """Take no further message of a stream: it ends when those that came before are answered.

        A stream may be open for as long as its caller likes, whom another worker can answer as well.
        """
        self._left = True
        now = asyncio.get_running_loop().time()
        for place in self._awaited:
            if not place.ends:
                place.limit.reschedule(now)

    async def _receive(
        self,
        places: Places,
        context: Any,  # noqa: ANN401
        read: Callable[[Any], Awaitable[bytes | None]],
        *,
        stream: bool = False,
    ) -> Any:  # noqa: ANN401
        if stream and self._left:
            raise _leaving()
        remaining: float | None = context.time_remaining()
        seconds = self._longest_seconds if remaining is None else min(remaining, self._longest_seconds)
        limit = asyncio.timeout(seconds)
        place = Place(context.peer(), limit)
        has_place = False
        try:
            async with limit:
                if stream:
                    self._awaited.add(place)
                await places.take(place)
                has_place = True
                # A read that is given up in the middle would leak what arrives in that moment.
                reading = asyncio.ensure_future(read(context))
                reading.add_done_callback(_retrieve)
                return await asyncio.shield(reading)
        except TimeoutError:
            if stream and self._left:
                raise _leaving() from None
            if not has_place:
                detail = "No place to receive the message became free in time."
                raise TooManyUnfinishedMessages(detail, retry_after=RETRY_SECONDS) from None
            self._give_up()
            if place.taken_away:
                detail = "The message is unfinished for too long, while others wait for its place."
                raise TooManyUnfinishedMessages(detail, retry_after=RETRY_SECONDS) from None
            raise DeadlineExceeded(f"The message was unfinished after {seconds:.1f} s.") from None
        except asyncio.CancelledError:
            if has_place:
                self._give_up()
            raise
        finally:
            self._awaited.discard(place)
            places.give_back(place)

    def _places_for(self, method: str, *, stream: bool = False) -> Places:
        service = service_of(method)
        if service in self._of_models or service in self._own:
            if stream:
                return self._streams
            return self._pictures if service in self._own else self._models
        # A stream of reflection has a place while it is idle, which must not hold up health, either.
        return self._health if method.startswith("/grpc.health.") else self._reflection

    def _give_up(self) -> None:
        """Give back the memory of messages that were given up where it may be much, once in some seconds."""
        self._given_up += self._largest  # how much has come is known to gRPC alone
        if self._given_up >= _TRIMMED_BYTES and not self._trims:
            self._trim_later()

    def _trim_later(self) -> None:
        self._trims, self._given_up = True, 0
        asyncio.get_running_loop().call_later(_TRIM_SECONDS, self._trim)

    def _trim(self) -> None:
        self._trims = False
        trim_heap()
        if self._given_up:  # meanwhile, so that its memory may not have been free yet
            self._trim_later()


def _leaving() -> BackendUnavailable:
    return BackendUnavailable(
        "This worker stops or is replaced. Send what is not answered in a new stream.",
        retry_after=RETRY_SECONDS,
    )


def _retrieve(reading: "asyncio.Future[bytes | None]") -> None:
    """Look at how a read ended, which was perhaps given up: asyncio logs what nobody has looked at."""
    if not reading.cancelled():
        reading.exception()


async def _read(context: Any) -> bytes | None:  # noqa: ANN401
    message = await context.read()
    return None if message is grpc.aio.EOF else message


async def _read_only(context: Any) -> bytes | None:  # noqa: ANN401
    message = await _read(context)
    if message is None:
        # Of a call that was cancelled gRPC says so, too, but perhaps a moment later.
        await asyncio.sleep(_CANCELLATION_SECONDS)
        raise MalformedRequest("The call has no message; it must have one.")
    if await _read(context) is not None:
        raise MalformedRequest("The call has more than one message; it must have one.")
    return message


def _parsed(raw: bytes, parse: Parse) -> Any:  # noqa: ANN401
    try:
        return raw if parse is None else parse(raw)
    except DecodeError as error:
        raise MalformedRequest("The request is not a message of this method's type.") from error
