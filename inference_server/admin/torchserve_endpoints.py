"""Where TorchServe's clients manage models: both endpoints, as settings have them."""

from flask import Flask

from inference_server.admin.grpc_server import GrpcServer
from inference_server.admin.supervisor_client import Execute
from inference_server.admin.torchserve import TorchServeManagement
from inference_server.admin.torchserve_grpc import TorchServeGrpcService
from inference_server.admin.torchserve_routes import create_torchserve_app
from inference_server.admin.torchserve_urls import ModelUrls
from inference_server.catalogue.store import Store
from utils.guard import Guard
from utils.settings import Settings
from utils.tls import TlsFiles
from utils.torchserve_keys import Tokens


class TorchServeEndpoints:
    """Makes the endpoints.

    Args:
        execute: Asks the supervisor.
        settings: What the operator decides.
    """

    def __init__(self, execute: Execute, settings: Settings) -> None:
        urls = ModelUrls(Store(settings.model_store).resolve, settings.torchserve_allowed_urls)
        self._management = TorchServeManagement(execute, urls, model_api=settings.model_api)
        keys = settings.torchserve_key_file
        self._tokens = None if keys is None else Tokens(keys, "management")

    def http(self, guard: Guard) -> Flask:
        """The application for requests by HTTP.

        Args:
            guard: Refuses what a web page may have sent.
        """
        return create_torchserve_app(self._management, guard, self._tokens)

    def grpc(self, address: str, guard: Guard, tls: TlsFiles | None) -> GrpcServer:
        """A server of calls by gRPC, refused by a guard; other arguments, and errors, as of GrpcServer."""
        return GrpcServer(TorchServeGrpcService(self._management, guard, self._tokens), address, tls)
