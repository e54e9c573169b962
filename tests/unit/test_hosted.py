"""Rules of services behind a server of somebody else's."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from inference_server.api.health import HealthServicer
from inference_server.api.hosted import HostedServices
from inference_server.api.interceptor import CallInterceptor
from inference_server.api.messages import MessageReceiver
from protos import infer_pb2 as pb
from utils.channel import MIB
from utils.errors import Code, QueueFull
from utils.status import decode_error, status_of

CHECK = "/grpc.health.v1.Health/Check"
LONGEST_SECONDS = 60.0


class Context:
    """A call as the other server has it, and what it is told."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.details = ""
        self.trailing: list[tuple[str, str | bytes]] = []

    def invocation_metadata(self) -> list[tuple[str, str | bytes]]:
        return [("x-request-id", "id-1")]

    def peer(self) -> str:
        return "ipv4:192.0.2.1:1"

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str | bytes]]) -> None:
        self.trailing = trailing_metadata

    @property
    def error(self) -> Exception:
        """What a caller makes of it."""
        assert self.code is not None
        return decode_error(status_of(Code(self.code.value[0]), self.details, dict(self.trailing)))


class Named:
    """Answers a picture with its id; refuses one that has none; waits for `gate` where that is set."""

    name = "Named"
    file = None
    gate: asyncio.Event | None = None
    cancelled = False
    remaining = 0.0

    def add_to(self, server: Any) -> None:  # noqa: ANN401
        unary: Any = grpc.unary_unary_rpc_method_handler(
            self.one, pb.Image.FromString, pb.InferResults.SerializeToString
        )
        stream: Any = grpc.stream_stream_rpc_method_handler(
            self.many, pb.Image.FromString, pb.InferResults.SerializeToString
        )
        handlers = {"One": unary, "Many": stream}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self.name, handlers),))

    async def one(self, image: pb.Image, context: Any) -> pb.InferResults:  # noqa: ANN401
        self.remaining = context.time_remaining()
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if not image.image_id:
            raise QueueFull("no room", retry_after=2.0)
        return pb.InferResults(image_id=image.image_id)

    async def many(self, images: AsyncIterator[pb.Image], context: Any) -> AsyncIterator[pb.InferResults]:  # noqa: ANN401
        async for image in images:
            yield await self.one(image, context)


def play(test: Callable[[HostedServices, Named, Context], Coroutine[Any, Any, None]]) -> None:
    """Run a test with the service above, and health, hosted."""

    async def played() -> None:
        named, health = Named(), HealthServicer([])
        await health.tell(serving=True)
        names = {named.name}
        interceptor = CallInterceptor(names, MessageReceiver(names, MIB, LONGEST_SECONDS))
        await test(HostedServices([named, health], interceptor, LONGEST_SECONDS), named, Context())

    asyncio.run(played())


def image(name: str) -> bytes:
    """A serialized picture with this id."""
    return pb.Image(image_id=name).SerializeToString()


async def images(*names: str) -> AsyncIterator[bytes]:
    """A stream of such."""
    for name in names:
        yield image(name)


def named(reply: bytes) -> str:
    """The id in a serialized answer."""
    return pb.InferResults.FromString(reply).image_id


def test_a_message_is_answered_with_the_calls_id() -> None:
    """In bytes, as the other server sends them."""

    async def test(hosted: HostedServices, _: Named, context: Context) -> None:
        assert named(await hosted.unary("/Named/One", image("a"), context)) == "a"
        assert context.code is None
        assert ("x-request-id", "id-1") in context.trailing

    play(test)


def test_a_stream_is_answered_message_by_message() -> None:
    """An answer comes before the next message is asked for."""

    async def test(hosted: HostedServices, _: Named, context: Context) -> None:
        ask: asyncio.Queue[bytes] = asyncio.Queue()

        async def asked() -> AsyncIterator[bytes]:
            while message := await ask.get():
                yield message

        answers = hosted.stream("/Named/Many", asked(), context)
        for name in ("a", "b"):
            ask.put_nowait(image(name))
            assert named(await anext(answers)) == name
        ask.put_nowait(b"")
        assert await anext(answers, None) is None
        assert context.code is None

    play(test)


def test_an_error_is_told_by_code_and_trailing_metadata_beside_an_empty_answer() -> None:
    """Nothing is raised: what other servers make of an exception has no reason."""

    async def test(hosted: HostedServices, _: Named, context: Context) -> None:
        assert await hosted.unary("/Named/One", image(""), context) == b""
        assert isinstance(context.error, QueueFull)
        assert context.error.retry_after == 2.0

    play(test)


def test_an_error_of_a_stream_follows_the_answers_before_it() -> None:
    """And is told as that of a message."""

    async def test(hosted: HostedServices, _: Named, context: Context) -> None:
        answers = [named(one) async for one in hosted.stream("/Named/Many", images("a", "", "b"), context)]
        assert answers == ["a"]
        assert isinstance(context.error, QueueFull)

    play(test)


def test_generated_services_are_hosted_as_well() -> None:
    """Health is one; what it refuses by gRPC's own means ends with that code."""

    async def test(hosted: HostedServices, _: Named, context: Context) -> None:
        asked = health_pb2.HealthCheckRequest
        reply = await hosted.unary(CHECK, asked().SerializeToString(), context)
        assert health_pb2.HealthCheckResponse.FromString(reply).status == 1
        assert await hosted.unary(CHECK, asked(service="none").SerializeToString(), context) == b""
        assert context.code is grpc.StatusCode.NOT_FOUND

    play(test)


def test_a_call_that_is_given_up_is_cancelled() -> None:
    """Of either kind."""

    async def test(hosted: HostedServices, service: Named, context: Context) -> None:
        service.gate = asyncio.Event()
        calling = asyncio.ensure_future(hosted.unary("/Named/One", image("a"), context))
        await asyncio.sleep(0.01)  # in which it begins
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert service.cancelled

        service.cancelled = False
        answers = hosted.stream("/Named/Many", images("a"), context)
        reading = asyncio.ensure_future(anext(answers))
        await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        for _ in range(100):  # turns of the event loop, in which its task ends
            await asyncio.sleep(0)
        assert service.cancelled

    play(test)


def test_a_call_has_the_longest_time_that_there_is() -> None:
    """Its caller's deadline ends it where it was received."""

    async def test(hosted: HostedServices, service: Named, context: Context) -> None:
        await hosted.unary("/Named/One", image("a"), context)
        assert LONGEST_SECONDS - 10 < service.remaining <= LONGEST_SECONDS

    play(test)
