"""TorchServe's management by HTTP: requests to calls of TorchServeManagement, and JSON back."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, request

from inference_server.admin.application import new_application
from inference_server.admin.bodies import members
from inference_server.admin.torchserve import Done, TorchServeManagement
from inference_server.admin.torchserve_api import API
from inference_server.admin.torchserve_documents import pretty, settings_of
from inference_server.admin.torchserve_urls import Registration
from utils import torchserve
from utils.errors import FacetError, MalformedRequest, shown
from utils.guard import Guard
from utils.problems import header_fields
from utils.torchserve_keys import Tokens

_LISTED = 100
_RENEWED = ("management", "inference")
_RENEWAL = "renewal"
_NUMBER = re.compile(r"[+-]?[0-9]{1,10}")
_END = 1 << 31


def create_torchserve_app(management: TorchServeManagement, guard: Guard, tokens: Tokens | None) -> Flask:
    """The application.

    Args:
        management: Does what is asked.
        guard: Refuses what a web page may have sent, and who does not have a key of Facet's.
        tokens: Checks TorchServe's own keys of requests, in the place of those; None where there are none.
    """
    app = new_application("inference_server.admin.torchserve", lambda: _check(guard, tokens), _tell)
    TorchServeRoutes(management, tokens).add_to(app)
    return app


class TorchServeRoutes:
    """The views, and what they share. Parameters are those of the query; registering takes JSON, too.

    Args:
        management: Does what is asked.
        tokens: Whose keys are renewed.
    """

    def __init__(self, management: TorchServeManagement, tokens: Tokens | None) -> None:
        self._management = management
        self._tokens = tokens

    def add_to(self, app: Flask) -> None:
        """Give the application its paths."""
        options = app.url_rule_class("/", endpoint="describe_api", methods=["OPTIONS"])
        app.url_map.add(options)  # by add_url_rule Flask would answer OPTIONS itself
        app.add_url_rule("/api-description", view_func=self.describe_api)
        app.add_url_rule("/models", view_func=self.list_models)
        app.add_url_rule("/models", view_func=self.register, methods=["POST"])
        for path in ("/models/<name>", "/models/<name>/<version>"):
            app.add_url_rule(path, view_func=self.describe)
            app.add_url_rule(path, view_func=self.scale, methods=["PUT"])
            app.add_url_rule(path, view_func=self.unregister, methods=["DELETE"])
        path = "/models/<name>/<version>/set-default"
        app.add_url_rule(path, view_func=self.set_default, methods=["PUT"])
        if self._tokens is not None:
            app.add_url_rule("/token", endpoint=_RENEWAL, view_func=self.renew)

    def describe_api(self) -> Response:
        """Describe these paths as OpenAPI does."""
        return _json(API)

    def list_models(self) -> Response:
        """List a page of the models."""
        given = request.args
        limit, token = _whole(given, "limit", _LISTED), _whole(given, "next_page_token", 0)
        return _json(self._management.list_models(limit, token))

    def describe(self, name: str, version: str = "") -> Response:
        """Describe versions of a model."""
        customized = _is_true(request.args.get("customized"))
        return _json(self._management.describe(name, version, customized=customized))

    def register(self) -> Response:
        """Serve a model of the store; without another word the answer comes when it is served."""
        given = members() if request.mimetype == "application/json" else request.args
        numbers = ("batch_size", "max_batch_delay", "response_timeout", "startup_timeout")
        wanted = Registration(
            url=_text(given, "url"),
            name=_text(given, "model_name") or "",
            runtime=_text(given, "runtime") or "",
            workers=max(_whole(given, "initial_workers", 0), 0),
            synchronous=_is_true(given.get("synchronous", "true")),
            settings=settings_of({name: _whole(given, name, 0) for name in numbers}),
        )
        return _done(self._management.register(wanted))

    def scale(self, name: str, version: str = "") -> Response:
        """Change how many processes a version has."""
        given = request.args
        least = _whole(given, "min_worker", 1)
        done = self._management.scale(
            name,
            version or given.get("model_version", ""),
            least,
            _whole(given, "max_worker", least),
            synchronous=_is_true(given.get("synchronous")),
        )
        return _done(done)

    def set_default(self, name: str, version: str) -> Response:
        """Have calls that name no version served by this one."""
        return _done(self._management.set_default(name, version))

    def unregister(self, name: str, version: str = "") -> Response:
        """Serve a version no longer."""
        return _done(self._management.unregister(name, version))

    def renew(self) -> Response:
        """Have another key for a port; it is in the file of keys."""
        port = request.args.get("type", "")
        if port not in _RENEWED:
            raise MalformedRequest(
                f"type is {shown(port)!r}; accepted: one of {', '.join(_RENEWED)}", field="type"
            )
        assert self._tokens is not None
        self._tokens.renew("management" if port == "management" else "inference")
        return Response(status=HTTPStatus.OK)


def _check(guard: Guard, tokens: Tokens | None) -> None:
    guard.check_page(request.headers)
    guard.check_host(request.headers)
    authorization = request.headers.get("Authorization")
    if tokens is None:
        guard.admit(g.caller, authorization)
    else:
        own = tokens.for_port("API") if request.endpoint == _RENEWAL else tokens
        own.check(authorization)


def _tell(failure: FacetError, error: Exception) -> Response:
    """A failure as TorchServe tells it."""
    told = torchserve.tell_management_error(failure if failure is error else torchserve.route_error(failure))
    response = _json(told.document, told.http_status)
    response.headers.update(header_fields(failure, error))
    return response


def _done(done: Done) -> Response:
    return _json({"status": done.text}, HTTPStatus.OK if done.at_once else HTTPStatus.ACCEPTED)


def _json(document: object, status: int = HTTPStatus.OK) -> Response:
    return Response(f"{pretty(document)}\n", status, content_type="application/json")


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise MalformedRequest(f"{name} is {shown(repr(value))}; accepted: a text", field=name)
    return value


def _whole(given: Mapping[str, Any], name: str, default: int) -> int:
    """A number of TorchServe's, whose whole numbers have 32 bits."""
    value = given.get(name, default)
    if not (type(value) is int or (isinstance(value, str) and _NUMBER.fullmatch(value))) or not (
        -_END <= int(value) < _END
    ):
        raise MalformedRequest(
            f"{name} is {shown(repr(value))}; accepted: a whole number of 32 bits", field=name
        )
    return int(value)


def _is_true(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")
