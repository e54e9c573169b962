"""The management by gRPC: protos/management.proto over the supervisor's commands."""

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError, Message

from inference_server.admin.supervisor_client import THREADS, Execute
from inference_server.catalogue import commands
from inference_server.catalogue.control_connection import LONGEST_LINE
from inference_server.catalogue.request_log import begin_request, log_request
from protos import management_pb2 as pb
from protos import management_pb2_grpc
from utils.access import Caller
from utils.credentials import listen, peer_name
from utils.errors import Code, FacetError, InternalError, MalformedRequest
from utils.guard import Guard
from utils.logs import fields
from utils.metadata import AUTHORIZATION, MAX_METADATA, REQUEST_ID, request_id
from utils.status import encode_error, error_metadata
from utils.tls import TlsFiles

logger = logging.getLogger(__name__)

_READS = ("/ListModels", "/DescribeModel", "/Status")
"""Methods that change nothing, of whichever service."""

_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
_OPTIONS = (
    # The supervisor has reserved the port; a process that replaces this one listens there, too.
    ("grpc.so_reuseport", 1),
    ("grpc.max_receive_message_length", LONGEST_LINE),
    *MAX_METADATA,
)


Answer = TypeVar("Answer", bound=Message)


class Service(Protocol):
    """What is served at an address."""

    def add_to(self, server: grpc.Server) -> None:
        """Register its methods."""

    def admit(self, caller: Caller, authorization: str | None) -> None:
        """Raise what a call is refused with whose metadata of that name says this; `caller` is told of it."""

    def told(self, failure: FacetError) -> tuple[Code, str]:
        """The code and the text with which a call ends that failed."""


class GrpcServer:
    """Serves at an address, by threads of its own.

    Args:
        service: What is served.
        address: Where it listens.
        tls: By which it speaks TLS; None for not at all.

    Raises:
        RuntimeError: It cannot listen there.
        TlsUnusable: The files of TLS cannot be used.
    """

    def __init__(self, service: Service, address: str, tls: TlsFiles | None) -> None:
        self._server = grpc.server(
            ThreadPoolExecutor(THREADS, "grpc"), interceptors=[_Surrounding(service)], options=_OPTIONS
        )
        service.add_to(self._server)
        listen(self._server, address, tls)
        self._server.start()
        self._stopped: threading.Event | None = None

    def stop_accepting(self) -> None:
        """Take no further calls; those that have come are answered."""
        self._stopped = self._server.stop(commands.LONG)

    @property
    def idle(self) -> bool:
        """Whether all calls are answered, of a server that takes no more."""
        return self._stopped is not None and self._stopped.is_set()


def management_service(execute: Execute, guard: Guard) -> Service:
    """The management's own service.

    Args:
        execute: Asks the supervisor.
        guard: Refuses who does not have a key for it.
    """
    return _ManagementService(execute, guard)


class _ManagementService(management_pb2_grpc.ManagementServicer):
    """Its methods: a message becomes a command, and its answer a message."""

    def __init__(self, execute: Execute, guard: Guard) -> None:
        self._execute = execute
        self.admit = guard.admit

    def add_to(self, server: grpc.Server) -> None:
        """Register its methods."""
        management_pb2_grpc.add_ManagementServicer_to_server(self, server)

    def told(self, failure: FacetError) -> tuple[Code, str]:
        """The error's own code and detail."""
        return failure.code, failure.detail

    def ListModels(self, _request: Any, _context: Any) -> Message:  # noqa: ANN401, N802
        return self._done(commands.ListModels(), pb.Models())

    def DescribeModel(self, request: Any, _context: Any) -> Message:  # noqa: ANN401, N802
        answer = self._execute(commands.DescribeModel(request.name, request.version))
        models = _message(answer, pb.Models())
        for model, described in zip(models.models, answer["models"], strict=True):
            if described["card"] is not None:
                model.card = json.dumps(described["card"]).encode()
        return models

    def Register(self, request: Any, _context: Any) -> Message:  # noqa: ANN401, N802
        settings = {field.name: value for field, value in request.settings.ListFields()}
        synchronous = request.synchronous if request.HasField("synchronous") else True
        command = commands.Register(
            request.url, request.name, request.version, settings, synchronous=synchronous
        )
        return self._done(command, pb.ModelVersion())

    def Unregister(self, request: Any, _context: Any) -> Message:  # noqa: ANN401, N802
        return self._done(commands.Unregister(request.name, request.version), pb.Unregistered())

    def Scale(self, request: Any, _context: Any) -> Message:  # noqa: ANN401, N802
        most = request.max_workers if request.HasField("max_workers") else None
        command = commands.Scale(request.name, request.version, request.min_workers, most)
        return self._done(command, pb.ModelVersion())

    def Reload(self, request: Any, _context: Any) -> Message:  # noqa: ANN401, N802
        return self._done(commands.Reload(request.name, request.version), pb.ModelVersion())

    def SetDefault(self, request: Any, _context: Any) -> Message:  # noqa: ANN401, N802
        return self._done(commands.SetDefault(request.name, request.version), pb.ModelVersion())

    def SetTraffic(self, request: Any, _context: Any) -> Message:  # noqa: ANN401, N802
        return self._done(commands.SetTraffic(request.name, dict(request.weights)), pb.Models())

    def Status(self, _request: Any, _context: Any) -> Message:  # noqa: ANN401, N802
        return self._done(commands.Status(), pb.BackendStatus())

    def Drain(self, _request: Any, _context: Any) -> Message:  # noqa: ANN401, N802
        return self._done(commands.Drain(), pb.Draining())

    def SetLogLevel(self, request: Any, _context: Any) -> Message:  # noqa: ANN401, N802
        return self._done(commands.SetLogLevel(request.level), pb.LogLevel())

    def _done(self, command: commands.Command, message: Message) -> Message:
        return _message(self._execute(command), message)


def _message(answer: dict[str, Any], message: Answer) -> Answer:
    """Fill a message with the members of an answer that it has fields for, but for cards."""
    models = [{**model, "card": None} for model in answer.get("models", ())]
    values = {**answer, "models": models} if models else answer
    ParseDict(values, message, ignore_unknown_fields=True)
    return message


class _Surrounding(grpc.ServerInterceptor):
    """What surrounds every call: the key, the translation of errors, and one log line."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def intercept_service(self, continuation: Callable[[Any], Any], details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401 - what grpc calls a handler has no type
        """Give grpc the handler of a call, surrounded."""
        handler = continuation(details)
        if handler is None:
            return None

        def surrounded(content: bytes, context: Any) -> bytes:  # noqa: ANN401
            return self._answer(handler, details.method, content, context)

        return grpc.unary_unary_rpc_method_handler(surrounded)

    def _answer(self, handler: Any, method: str, content: bytes, context: Any) -> bytes:  # noqa: ANN401
        begin_request()
        began, metadata, caller = time.monotonic(), dict(context.invocation_metadata()), Caller()
        name = request_id(metadata.get(REQUEST_ID))
        reads, peer = method.endswith(_READS), peer_name(context)
        log = partial(log_request, began, reads=reads, request_id=name, method=method, peer=peer)
        try:
            self._service.admit(caller, metadata.get(AUTHORIZATION))
            answer: bytes = handler.response_serializer(
                handler.unary_unary(_parsed(handler, content), context)
            )
        except FacetError as error:
            failure = error
        except Exception as error:
            about = fields(request_id=name, method=method)
            logger.error("management request failed", exc_info=error, extra=about)
            failure = InternalError()
        else:
            log(None, status="OK", key=caller.name or None)
            return answer
        code, text = self._service.told(failure)
        log(failure, status=code.name, key=caller.name or None)
        status = encode_error(failure)
        status.code, status.message = code.value, text
        context.set_trailing_metadata(error_metadata(status))
        context.abort(_STATUS_CODES[code.value], text)
        raise AssertionError("abort raises")


def _parsed(handler: Any, content: bytes) -> Message:  # noqa: ANN401
    """The message of a call: grpc itself would answer one that is none with INTERNAL."""
    try:
        message: Message = handler.request_deserializer(content)
    except DecodeError as error:
        raise MalformedRequest("The message is none of the type that this method takes") from error
    return message
