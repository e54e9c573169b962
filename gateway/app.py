"""The composition root: settings and client in, Flask applications out."""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from flask import Flask, request
from werkzeug.exceptions import HTTPException, NotFound

from gateway import context, problems, routes
from gateway.access import NO_ACCESS, RequestAccess
from gateway.arrival import BodyRule, BodyRules, Environ
from gateway.backend import Backend
from gateway.cors import NO_ORIGINS, OriginRules
from gateway.counters import NO_ROUTE
from gateway.openapi.description import FETCH_SECONDS, FRESH_SECONDS, ApiDescription
from gateway.readiness import Readiness, ask_backends
from gateway.recent import Recent
from gateway.routes import torchserve
from gateway.routes.backend_calls import Permits
from gateway.routes.description import DOCS_FILES, DescriptionRoutes
from gateway.routes.model_calls import ModelCalls
from gateway.routes.page import PAGE_FILES
from gateway.routes.torchserve import TorchServeRoutes
from gateway.tracing import TracedClient
from utils.access import Access
from utils.guard import Guard
from utils.secret_file import SecretFile
from utils.settings import Address, Settings
from utils.tls import client_tls
from utils.tracing import NO_TRACER, Tracer, start


class Gateway(Flask):
    """A Flask application, which tells its server what else it needs to know.

    Attributes:
        error_format: How it tells failures.
        origins: Which web pages may read its answers.
        others: What answers at the further listeners of the gateway, by the setting that has the address.
        permits_free: How many more requests may call the backend now.
        tracer: Decides which requests are traced.
    """

    def __init__(
        self,
        body_rules: BodyRules,
        error_format: problems.ErrorFormat,
        backend: str,
        origins: OriginRules = NO_ORIGINS,
        *,
        access: RequestAccess = NO_ACCESS,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        super().__init__(__package__, static_folder=None)
        self._rules, self._access = body_rules, access
        self.error_format = error_format
        self.origins = origins
        self.tracer = tracer
        self.others: Mapping[str, Gateway] = {}
        self.permits_free: Callable[[], int] = lambda: 0
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

    def routes(self) -> set[str]:
        """Templates of its paths."""
        return {rule.rule for rule in self.url_map.iter_rules()}

    def route_of(self, environ: Environ) -> str:
        """The template of the path of a request that it was not asked for; NO_ROUTE where there is none."""
        try:
            rule, _ = self.url_map.bind_to_environ(environ).match(return_rule=True)
        except HTTPException:
            return NO_ROUTE
        return rule.rule


def build(settings: Settings | None = None, client: Backend | None = None) -> Flask:
    """As `gateway.create_app`."""
    if settings is None:
        settings = Settings.from_environ(os.environ)
    tracer = start(settings, "facet-gateway")
    if client is None:
        secret = settings.backend_key_file
        client = TracedClient(
            tracer,
            settings.backend,
            timeout=settings.timeout_seconds,
            key="" if secret is None else SecretFile(secret).read,
            max_image_bytes=settings.max_image_bytes,
            max_request_bytes=settings.max_request_bytes,
            tls=client_tls(settings),
        )
    permits = Permits(settings)
    calls = ModelCalls(client, settings, permits)
    readiness = Readiness(partial(ask_backends, client))
    body_rules = partial(routes.body_rule, settings=settings)
    origins = OriginRules(settings.allowed_origins)
    access = Access.of(settings)
    checked = RequestAccess(access, routes.need_of)
    app = Gateway(body_rules, routes.error_answer, settings.backend, origins, access=checked, tracer=tracer)
    app.permits_free = lambda: permits.free
    routes.add_routes(app, client, permits, calls, readiness)
    models = Recent(
        lambda: client.models(timeout=FETCH_SECONDS), fresh_seconds=FRESH_SECONDS, patience=FETCH_SECONDS
    )
    files = {"docs": DOCS_FILES, "page": PAGE_FILES}
    DescriptionRoutes(ApiDescription(settings, files, models)).add_to(app)
    others = {}
    if settings.torchserve_http_address is not None:
        others["torchserve_http_address"] = _torchserve(calls, readiness, access, tracer)
    if settings.http_metrics_address is not None:
        others["http_metrics_address"] = _metrics(settings, settings.http_metrics_address, access)
    app.others = others
    return app


def _torchserve(calls: ModelCalls, readiness: Readiness, access: Access | None, tracer: Tracer) -> Gateway:
    views = TorchServeRoutes(calls, readiness)
    # Where it has tokens of its own, those are demanded.
    checked = RequestAccess(None if calls.settings.torchserve_key_file else access, torchserve.need_of)
    backend = calls.settings.backend
    app = Gateway(views.body_rule, torchserve.error_answer, backend, access=checked, tracer=tracer)
    views.add_to(app)
    return app


def _metrics(settings: Settings, address: Address, access: Access | None) -> Gateway:
    from gateway.routes.metrics import MetricsRoutes  # noqa: PLC0415 - loads what nobody else needs

    app = Gateway(lambda _: None, problems.problem, settings.backend)
    hosts = [*settings.admin_hosts, str(address).rpartition(":")[0]]
    MetricsRoutes(Guard(hosts, access)).add_to(app)
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
