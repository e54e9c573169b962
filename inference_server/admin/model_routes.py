"""The models, for operators: what there is, and every change of it."""

from http import HTTPStatus
from urllib.parse import quote

from flask import Flask, Response

from inference_server.admin.bodies import command, command_of, json_response, members
from inference_server.admin.supervisor_client import Execute
from inference_server.catalogue.commands import (
    DescribeModel,
    ListModels,
    Register,
    Reload,
    Scale,
    SetDefault,
    SetTraffic,
    Unregister,
)
from utils.errors import MalformedRequest


class ModelRoutes:
    """The views, and what they share.

    Args:
        execute: Asks the supervisor.
    """

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def add_to(self, app: Flask) -> None:
        """Give the application its paths."""
        app.add_url_rule("/models", view_func=self.list_models)
        app.add_url_rule("/models", view_func=self.register, methods=["POST"])
        for path in ("/models/<name>", "/models/<name>/<version>"):
            app.add_url_rule(path, view_func=self.describe)
            app.add_url_rule(path, view_func=self.scale, methods=["PUT"])
            app.add_url_rule(path, view_func=self.unregister, methods=["DELETE"])
            app.add_url_rule(f"{path}/reload", view_func=self.reload, methods=["POST"])
        app.add_url_rule("/models/<name>/default", view_func=self.set_default, methods=["PUT"])
        app.add_url_rule("/models/<name>/traffic", view_func=self.set_traffic, methods=["PUT"])

    def list_models(self) -> Response:
        """List every version of every model."""
        return json_response(self._execute(ListModels()))

    def describe(self, name: str, version: str = "") -> Response:
        """Describe a version with its card; without one named, all versions of the model."""
        return json_response(self._execute(DescribeModel(name, version)))

    def register(self) -> Response:
        """Serve a model: answered when it is served, or at once where that is not to be waited for."""
        wanted = command(Register)
        assert isinstance(wanted, Register)
        made = self._execute(wanted)
        status = HTTPStatus.CREATED if wanted.synchronous else HTTPStatus.ACCEPTED
        response = json_response(made, status)
        path = "/".join(quote(part, safe="") for part in (made["name"], made["version"]) if part)
        response.headers["Location"] = f"/models/{path}"
        return response

    def scale(self, name: str, version: str = "") -> Response:
        """Change how many processes a version has."""
        wanted = members()
        if "min_workers" not in wanted:
            raise MalformedRequest("The body has no member min_workers", field="min_workers")
        return json_response(self._execute(command_of(Scale, wanted, name=name, version=version)))

    def unregister(self, name: str, version: str = "") -> Response:
        """Serve a version no longer: answered when no request waits for it."""
        return json_response(self._execute(command(Unregister, name=name, version=version)))

    def reload(self, name: str, version: str = "") -> Response:
        """Have a version serve what the store has of it now: answered when all of its processes do."""
        return json_response(self._execute(command(Reload, name=name, version=version)))

    def set_default(self, name: str) -> Response:
        """Have calls that name no version served by another one."""
        return json_response(self._execute(command(SetDefault, name=name)))

    def set_traffic(self, name: str) -> Response:
        """Divide the calls that name no version among versions."""
        return json_response(self._execute(SetTraffic(name, members())))
