"""What somebody meets who calls the gateway by its address alone: a page for browsers, a text for others."""

from flask import Flask, Response, request

from gateway.files import STATIC, StoredFile, page_headers
from gateway.forms.hints import curl_lines

_FOLDER = STATIC / "page"
_PAGE = "page.html"
_HTML, _TEXT = "text/html", "text/plain"
_HEADERS = page_headers(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
PAGE_FILES = tuple(sorted(path.name for path in _FOLDER.iterdir() if path.suffix in {".css", ".js", ".svg"}))
"""What the page loads."""


class PageRoutes:
    """The views, and the files that they give."""

    def __init__(self) -> None:
        self._files = {name: StoredFile.read(_FOLDER / name) for name in (_PAGE, *PAGE_FILES)}

    def add_to(self, app: Flask) -> None:
        """Give the application its paths."""
        app.add_url_rule("/", view_func=self.index)
        app.add_url_rule(f"/page/<any({', '.join(map(repr, PAGE_FILES))}):file>", "page_file", self.file)

    def index(self) -> Response:
        """The page where the client would rather have HTML than text; who takes anything gets the text."""
        wanted = request.accept_mimetypes.best_match([_TEXT, _HTML])
        response = self.file(_PAGE) if wanted == _HTML else _about()
        response.vary.add("Accept")
        return response

    def file(self, file: str) -> Response:
        """Give what the page is made of."""
        response = self._files[file].response()
        response.headers.update(_HEADERS)
        return response


def _about() -> Response:
    """Say what this is, how to use it, and where to read on."""
    faces = "\n".join(f"    {line}" for line in curl_lines(request.host))
    text = (
        f"Facet finds faces:\n\n{faces}\n\n"
        f"and serves other models, of which it has a list:\n\n    curl http://{request.host}/models\n\n"
        f"All paths: http://{request.host}/docs\n\n"
        "Documentation: README.md and docs/ of the repository.\n"
    )
    return Response(text, content_type=f"{_TEXT}; charset=utf-8")
