"""Which web pages of other origins may read the answers: CORS, as the Fetch standard defines it."""

from collections.abc import Collection

from flask import Response, request

from gateway.arrival import Environ

ALLOWED_FIELDS = "Authorization, Content-Type, X-Request-ID, X-Request-Timeout"
EXPOSED_FIELDS = "RateLimit, RateLimit-Policy, Retry-After, X-Facet-Faces, X-Model, X-Request-ID"
_PREFLIGHT_SECONDS = "600"
_ANY = "*"


class OriginRules:
    """The header fields by which browsers know. Cookies and the like are never asked for.

    Args:
        origins: Those that are allowed, or `*` alone for all; none: nothing is said.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = origins

    def header_fields(self, environ: Environ) -> dict[str, str]:
        """Those of any answer, a refusal included, to the request of this WSGI environment."""
        if _ANY in self._origins:
            return {"Access-Control-Allow-Origin": _ANY, "Access-Control-Expose-Headers": EXPOSED_FIELDS}
        if not self._origins:
            return {}
        origin: str = environ.get("HTTP_ORIGIN", "")
        # Caches must not give the answer to one origin to another.
        vary = {"Vary": "Origin"}
        if origin not in self._origins:
            return vary
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": EXPOSED_FIELDS,
            **vary,
        }

    def add_to(self, response: Response) -> Response:
        """Say it in an answer of the application; a hook that runs after each request."""
        fields = self.header_fields(request.environ)
        if fields.pop("Vary", None):
            response.vary.add("Origin")
        response.headers.update(fields)
        if "Access-Control-Allow-Origin" in fields and _is_preflight():
            response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "")
            response.headers["Access-Control-Allow-Headers"] = ALLOWED_FIELDS
            response.headers["Access-Control-Max-Age"] = _PREFLIGHT_SECONDS
        return response


def _is_preflight() -> bool:
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


NO_ORIGINS = OriginRules(())
"""Of an application whose answers no other page reads."""
