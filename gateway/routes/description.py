"""What tells of the gateway's paths: /openapi.json, the page /docs that shows it, and /version."""

from functools import partial
from pathlib import Path

import orjson
from flask import Flask, Response

from gateway.files import StoredFile
from gateway.openapi.description import ApiDescription
from utils.version import VERSION

_FOLDER = Path(__file__).parent.parent / "static"
_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_PAGE = "docs.html"
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}
PAGE_FILES = ("docs.js", "swagger-ui.css", "swagger-ui-bundle.js")
"""What the page loads, beside the document."""


class DescriptionRoutes:
    """The views, and what they share."""

    def __init__(self, description: ApiDescription) -> None:
        self._description = description
        self._files = {name: _read(name) for name in (_PAGE, *PAGE_FILES)}

    def add_to(self, app: Flask) -> None:
        """Give the application its paths."""
        app.add_url_rule("/openapi.json", view_func=self.document)
        app.add_url_rule("/docs", "docs", partial(self.page, _PAGE))
        app.add_url_rule(f"/docs/<any({', '.join(map(repr, PAGE_FILES))}):file>", view_func=self.page)
        app.add_url_rule("/version", view_func=self.version)

    def document(self) -> Response:
        """Describe all paths as OpenAPI does."""
        return self._description.file().response()

    def page(self, file: str) -> Response:
        """Show that description, or give what the page needs."""
        response = self._files[file].response()
        response.headers.update(_PAGE_HEADERS)
        return response

    def version(self) -> Response:
        """Say which release this is."""
        return Response(orjson.dumps({"version": VERSION}), content_type="application/json")


def _read(name: str) -> StoredFile:
    """A file that the repository has, as it is or compressed."""
    content_type = _CONTENT_TYPES[Path(name).suffix]
    compressed = _FOLDER / "swagger-ui" / f"{name}.gz"
    if compressed.exists():
        return StoredFile(content_type, compressed.read_bytes())
    return StoredFile.of(content_type, (_FOLDER / name).read_bytes())
