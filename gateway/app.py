"""The composition root: settings and client in, Flask applications out."""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from flask import Flask, request
from werkzeug.exceptions import NotFound

from gateway import context, problems, routes
from gateway.access import NO_ACCESS, RequestAccess
from gateway.arrival import BodyRule, BodyRules, Environ
from gateway.backend import Backend, BackendClient
from gateway.cors import NO_ORIGINS, OriginRules
from gateway.openapi.description import FETCH_SECONDS, FRESH_SECONDS, ApiDescription
from gateway.readiness import PROBE_SECONDS, Readiness
from gateway.recent import Recent
from gateway.routes import torchserve
from gateway.routes.backend_calls import Permits
from gateway.routes.description import PAGE_FILES, DescriptionRoutes
from gateway.routes.model_calls import ModelCalls
from gateway.routes.torchserve import TorchServeRoutes
from utils.access import Access
from utils.secret_file import SecretFile
from utils.settings import Settings


class Gateway(Flask):
    """A Flask application, which tells its server what else it needs to know.

    Attributes:
        error_format: How it tells failures.
        origins: Which web pages may read its answers.
        others: What answers at the further listeners of the gateway, by the setting that has the address.
    """

    def __init__(
        self,
        body_rules: BodyRules,
        error_format: problems.ErrorFormat,
        backend: str,
        origins: OriginRules = NO_ORIGINS,
        access: RequestAccess = NO_ACCESS,
    ) -> None:
        super().__init__("gateway", static_folder=None)
        self._rules, self._access = body_rules, access
        self.error_format = error_format
        self.origins = origins
        self.others: Mapping[str, Flask] = {}
        # A path with two slashes is another path, not one to be redirected with its body.
        self.url_map.merge_slashes = False
        self.wsgi_app = _rooted(self.wsgi_app)  # type: ignore[method-assign, assignment] # as Flask has it
        self.before_request(context.begin)
        self.before_request(_refuse_other_slashes)
        self.before_request(lambda: access.admit(request.environ))
        self.after_request(context.end)
        self.after_request(origins.add_to)
        answer = partial(problems.answer, backend=backend, error_format=error_format)
        self.register_error_handler(Exception, answer)

    def body_rules(self, environ: Environ) -> BodyRule | None:
        """What body is accepted of a request with this head; as gateway.arrival.BodyRules.

        Raises:
            FacetError: The request is refused, for its key or for its head.
        """
        self._access.admit(environ)
        return self._rules(environ)


def build(settings: Settings | None = None, client: Backend | None = None) -> Flask:
    """As `gateway.create_app`."""
    if settings is None:
        settings = Settings.from_environ(os.environ)
    if client is None:
        secret = settings.backend_key_file
        client = BackendClient(
            settings.backend,
            timeout=settings.timeout_seconds,
            key="" if secret is None else SecretFile(secret).read,
            max_image_bytes=settings.max_image_bytes,
            max_request_bytes=settings.max_request_bytes,
        )
    permits = Permits(settings)
    calls = ModelCalls(client, settings, permits)
    readiness = Readiness(lambda: client.check_ready(timeout=PROBE_SECONDS))
    body_rules = partial(routes.body_rule, settings=settings)
    origins = OriginRules(settings.allowed_origins)
    access = Access.of(settings)
    checked = RequestAccess(access, routes.need_of)
    app = Gateway(body_rules, routes.error_answer, settings.backend, origins, checked)
    routes.add_routes(app, client, permits, calls, readiness)
    models = Recent(
        lambda: client.models(timeout=FETCH_SECONDS), fresh_seconds=FRESH_SECONDS, patience=FETCH_SECONDS
    )
    DescriptionRoutes(ApiDescription(settings, PAGE_FILES, models)).add_to(app)
    if settings.torchserve_http_address is not None:
        views = TorchServeRoutes(calls, readiness)
        # Where it has tokens of its own, those are demanded.
        checked = RequestAccess(None if settings.torchserve_key_file else access, torchserve.need_of)
        other = Gateway(views.body_rule, torchserve.error_answer, settings.backend, access=checked)
        views.add_to(other)
        app.others = {"torchserve_http_address": other}
    return app


_Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def _rooted(application: _Application) -> _Application:
    """Take an empty path for the root, as HTTP does; Flask would redirect it, past every handler."""

    def rooted(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI's
        environ["PATH_INFO"] = environ["PATH_INFO"] or "/"
        return application(environ, start_response)

    return rooted


def _refuse_other_slashes() -> None:
    """Refuse a path that does not begin with one slash, which Werkzeug puts right, but no proxy does."""
    path = request.environ["PATH_INFO"]
    if not path.startswith("/") or path.startswith("//"):
        raise NotFound
