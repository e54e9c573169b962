"""Rules of what Ray's gRPC proxy passes on, by a server that does with its handlers what Ray's does."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import pytest

from facet_serving.ray_proxy import Addressed, add_services, methods
from utils.errors import QueueFull
from utils.status import encode_error, error_metadata

OURS = error_metadata(encode_error(QueueFull("full")))


class Proxy:
    """Answers a call with its method's path; ends one whose message is a status by that.

    One that says `once` before it does so at the first call.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server
        self.calls = 0

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """As Ray's: it takes paths and deserializers, and its own behaviours."""
        [services] = handlers
        services._method_handlers = {
            path: handler._replace(unary_unary=self.unary, stream_stream=self.stream)
            for path, handler in services._method_handlers.items()
        }
        self._server.add_generic_rpc_handlers((services,))

    async def unary(self, request: Addressed, context: Any) -> bytes:  # noqa: ANN401
        said = request.message.decode()
        self.calls += 1
        if said.startswith("once "):
            said = said.removeprefix("once ") if self.calls == 1 else ""
        code, _, reason = said.partition(" ")
        if code:
            context.set_code(grpc.StatusCode[code])
            context.set_details("why")
            context.set_trailing_metadata(OURS if reason else ())
        return request.method.encode()

    async def stream(self, requests: AsyncIterator[Addressed], context: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
        async for request in requests:
            yield await self.unary(request, context)


def play(
    test: Callable[[grpc.aio.Channel], Awaitable[None]], options: Sequence[tuple[str, Any]] = ()
) -> None:
    """Run a test with a client of such a proxy."""

    async def played() -> None:
        server = grpc.aio.server()
        add_services(None, Proxy(server))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
                await test(channel)
        finally:
            await server.stop(None)

    asyncio.run(played())


def test_calls_of_the_same_name_are_told_apart_by_their_service() -> None:
    """Ray tells a replica the name alone."""

    async def test(channel: grpc.aio.Channel) -> None:
        for path in ("/Inference/Predict", "/Models/Predict", "/grpc.health.v1.Health/Check"):
            call: Any = channel.unary_unary(path)
            assert await call(b"") == path.encode()
        streamed: Any = channel.stream_stream("/Inference/PredictStream")
        answers = [one async for one in streamed(iter([b"", b""]))]
        assert answers == [b"/Inference/PredictStream"] * 2

    play(test)


def test_a_call_that_failed_for_now_is_asked_again_by_the_client() -> None:
    """Clients of gRPC do so by their policy, but not where any message came with the status."""
    policy = {"maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1}
    methods = [{"name": [{}], "retryPolicy": {**policy, "retryableStatusCodes": ["UNAVAILABLE"]}}]
    options = [("grpc.service_config", json.dumps({"methodConfig": methods}))]

    async def test(channel: grpc.aio.Channel) -> None:
        unary: Any = channel.unary_unary("/Inference/Predict")
        assert await unary(b"once INTERNAL") == b"/Inference/Predict"

    play(test, options)


def test_what_would_take_a_replica_for_good_is_not_passed_on() -> None:
    """Whoever watches the health is told that there is no such method."""
    assert ("grpc.health.v1.Health", "Watch", False) not in [*methods()]

    async def test(channel: grpc.aio.Channel) -> None:
        watch: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
        with pytest.raises(grpc.RpcError) as caught:
            [_ async for _ in watch(b"")]
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    play(test)


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ("INTERNAL", grpc.StatusCode.UNAVAILABLE),
        ("INTERNAL ours", grpc.StatusCode.INTERNAL),
        ("NOT_FOUND", grpc.StatusCode.NOT_FOUND),
    ],
)
def test_a_call_whose_replica_has_died_is_one_to_ask_again(told: str, code: grpc.StatusCode) -> None:
    """Ray tells of it by INTERNAL; what a replica itself has told stays as it is."""

    async def test(channel: grpc.aio.Channel) -> None:
        unary: Any = channel.unary_unary("/Inference/Predict")
        stream: Any = channel.stream_stream("/Inference/PredictStream")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(told.encode())
        assert (caught.value.code(), caught.value.details()) == (code, "why")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [_ async for _ in stream(iter([told.encode()]))]
        assert (caught.value.code(), caught.value.details()) == (code, "why")

    play(test)
