"""TorchServe's management service by gRPC: messages to calls of TorchServeManagement, and texts back."""

from typing import Any

import grpc

from inference_server.admin.torchserve import TorchServeManagement
from inference_server.admin.torchserve_documents import pretty, settings_of
from inference_server.admin.torchserve_urls import Registration
from protos.torchserve import message_class, service_name
from utils.access import Caller
from utils.errors import Code, FacetError
from utils.guard import Guard
from utils.torchserve import tell_management_error
from utils.torchserve_keys import Tokens

_METHODS = ("DescribeModel", "ListModels", "RegisterModel", "ScaleWorker", "SetDefault", "UnregisterModel")


class TorchServeGrpcService:
    """The methods. A number of 0 or below is one that was not given.

    Args:
        management: Does what is asked.
        guard: Refuses who does not have a key of Facet's.
        tokens: Checks TorchServe's own keys of calls, in the place of those; None where there are none.
    """

    def __init__(self, management: TorchServeManagement, guard: Guard, tokens: Tokens | None) -> None:
        self._management = management
        self._guard = guard
        self._tokens = tokens

    def add_to(self, server: grpc.Server) -> None:
        """Register its methods."""
        response: Any = message_class("management", "ManagementResponse")
        handlers: dict[str, Any] = {}
        for name in _METHODS:
            request: Any = message_class("management", f"{name}Request")
            handlers[name] = grpc.unary_unary_rpc_method_handler(
                self._answering(getattr(self, f"_{name}"), response),
                request_deserializer=request.FromString,
                response_serializer=response.SerializeToString,
            )
        handler = grpc.method_handlers_generic_handler(service_name("management"), handlers)
        server.add_generic_rpc_handlers((handler,))

    def admit(self, caller: Caller, authorization: str | None) -> None:
        """Let in a call with TorchServe's key for the management, or where there are none, with one of ours.

        Raises:
            TokenRefused: It has not TorchServe's.
            FacetError: As Guard.admit.
        """
        if self._tokens is None:
            self._guard.admit(caller, authorization)
        else:
            self._tokens.check(authorization)

    def told(self, failure: FacetError) -> tuple[Code, str]:
        """TorchServe's code and text."""
        told = tell_management_error(failure)
        return told.code, told.detail

    @staticmethod
    def _answering(method: Any, response: Any) -> Any:  # noqa: ANN401 - grpc's handlers have no types
        return lambda request, _context: response(msg=method(request))

    def _DescribeModel(self, request: Any) -> str:  # noqa: ANN401, N802
        found = self._management.describe(
            request.model_name, request.model_version, customized=request.customized
        )
        return pretty(found)

    def _ListModels(self, request: Any) -> str:  # noqa: ANN401, N802
        return pretty(self._management.list_models(request.limit, request.next_page_token))

    def _RegisterModel(self, request: Any) -> str:  # noqa: ANN401, N802
        wanted = Registration(
            url=request.url or None,
            name=request.model_name,
            runtime=request.runtime,
            workers=max(request.initial_workers, 0),
            synchronous=request.synchronous,
            settings=settings_of({field.name: value for field, value in request.ListFields()}),
        )
        return self._management.register(wanted).text

    def _ScaleWorker(self, request: Any) -> str:  # noqa: ANN401, N802
        least = request.min_worker if request.min_worker > 0 else 1
        most = request.max_worker if request.max_worker > 0 else least
        done = self._management.scale(
            request.model_name, request.model_version, least, most, synchronous=request.synchronous
        )
        return done.text

    def _SetDefault(self, request: Any) -> str:  # noqa: ANN401, N802
        return self._management.set_default(request.model_name, request.model_version).text

    def _UnregisterModel(self, request: Any) -> str:  # noqa: ANN401, N802
        return self._management.unregister(request.model_name, request.model_version).text
