"""What tells of the gateway's paths: /openapi.json, the page /docs that shows it, and /version."""

from functools import partial

import orjson
from flask import Flask, Response

from gateway.files import STATIC, StoredFile, page_headers
from gateway.openapi.description import ApiDescription
from utils.version import VERSION

_PAGE = "docs.html"
_HEADERS = page_headers(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'"
)
_SWAGGER_UI = ("swagger-ui.css", "swagger-ui-bundle.js")
DOCS_FILES = ("docs.js", *_SWAGGER_UI)
"""What the page loads, beside the document."""


class DescriptionRoutes:
    """The views, and what they share."""

    def __init__(self, description: ApiDescription) -> None:
        self._description = description
        self._files = {
            **{name: StoredFile.read(STATIC / name) for name in (_PAGE, "docs.js")},
            **{name: StoredFile.read(STATIC / "swagger-ui" / name) for name in _SWAGGER_UI},
        }

    def add_to(self, app: Flask) -> None:
        """Give the application its paths."""
        app.add_url_rule("/openapi.json", view_func=self.document)
        app.add_url_rule("/docs", "docs", partial(self.page, _PAGE))
        app.add_url_rule(f"/docs/<any({', '.join(map(repr, DOCS_FILES))}):file>", view_func=self.page)
        app.add_url_rule("/version", view_func=self.version)

    def document(self) -> Response:
        """Describe all paths as OpenAPI does."""
        return self._description.file().response()

    def page(self, file: str) -> Response:
        """Show that description, or give what the page needs."""
        response = self._files[file].response()
        response.headers.update(_HEADERS)
        return response

    def version(self) -> Response:
        """Say which release this is."""
        return Response(orjson.dumps({"version": VERSION}), content_type="application/json")
