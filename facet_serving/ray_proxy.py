"""What Ray Serve's gRPC proxy loads to pass calls of Facet's services on to replicas: `facet_serving.ray`."""

from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import grpc
from grpc_health.v1 import health_pb2

from protos import infer_pb2, models_pb2, oip

_REASON = "grpc-status-details-bin"
"""Metadata with which each error of ours comes."""


class Addressed(NamedTuple):
    """A message of a call, serialized, and the path of its method, of which Ray tells the last part alone."""

    method: str
    message: bytes


def methods() -> Iterator[tuple[str, str, bool]]:
    """Service, name, and whether it takes a stream, of each method that is passed on.

    The proxy knows all of them when it starts: typed methods of models are not among them. Nor is watching
    the health, which would take a place of a replica for good.
    """
    for file in (infer_pb2.DESCRIPTOR, models_pb2.DESCRIPTOR, oip.descriptor(), health_pb2.DESCRIPTOR):
        for service in file.services_by_name.values():
            for method in service.methods:
                if method.client_streaming or not method.server_streaming:
                    yield service.full_name, method.name, method.client_streaming


def add_services(_servicer: object, server: Any) -> None:  # noqa: ANN401 - Ray's own kind of server
    """Have Ray's gRPC proxy pass on the methods: for its option grpc_servicer_functions."""
    server.add_generic_rpc_handlers((_Methods(),))


class _Methods(grpc.GenericRpcHandler):
    """The methods, of which Ray takes paths and deserializers, and puts behaviours of its own into them."""

    def __init__(self) -> None:
        one: Any = grpc.unary_unary_rpc_method_handler
        many: Any = grpc.stream_stream_rpc_method_handler
        self._method_handlers = {}
        for service, name, is_stream in methods():
            path = f"/{service}/{name}"
            self._method_handlers[path] = (many if is_stream else one)(None, partial(Addressed, path))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401
        """A method's handler as Ray has made it, but for how it ends calls that have failed."""
        handler: Any = self._method_handlers.get(handler_call_details.method)
        if handler is None:
            return None
        if handler.request_streaming:
            return handler._replace(stream_stream=partial(_stream, handler.stream_stream))
        return handler._replace(unary_unary=partial(_unary, handler.unary_unary))


async def _unary(behaviour: Callable[..., Any], request: Addressed, context: Any) -> Any:  # noqa: ANN401
    reply = await behaviour(request, context)
    await _end(context)
    return reply


async def _stream(
    behaviour: Callable[..., Any],
    requests: Any,  # noqa: ANN401
    context: Any,  # noqa: ANN401
) -> AsyncGenerator[Any, None]:
    async for reply in behaviour(requests, context):
        yield reply
    await _end(context)


async def _end(context: Any) -> None:  # noqa: ANN401
    """End a call that has failed so that gRPC's clients ask again where that may help.

    They do not where a message came with the status, as Ray sends one; and where a replica has died, Ray says
    INTERNAL.
    """
    code = context.code()
    if code in (None, grpc.StatusCode.OK):
        return
    if code is grpc.StatusCode.INTERNAL and _REASON not in dict(context.trailing_metadata() or ()):
        code = grpc.StatusCode.UNAVAILABLE
    await context.abort(code)  # with the details and the metadata that are set
