"""What the gateway serves from memory: compressed, and not again to a client that has it already."""

import gzip
import hashlib
from pathlib import Path

from flask import Response, request

STATIC = Path(__file__).parent / "static"
"""Where the files of the pages are."""
_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class StoredFile:
    """Content, and what tells it from any other.

    Args:
        content_type: Its Content-Type.
        compressed: The content, compressed by gzip.
    """

    def __init__(self, content_type: str, compressed: bytes) -> None:
        self._content_type = content_type
        self._compressed = compressed
        self._etag = hashlib.sha256(compressed).hexdigest()[:32]

    @classmethod
    def of(cls, content_type: str, content: bytes) -> "StoredFile":
        """The same of content that is not compressed yet."""
        return cls(content_type, gzip.compress(content, mtime=0))

    @classmethod
    def read(cls, path: Path) -> "StoredFile":
        """The same of a file, which may lie there compressed, with `.gz` behind its name."""
        content_type = _CONTENT_TYPES[path.suffix]
        compressed = path.with_name(f"{path.name}.gz")
        if compressed.exists():
            return cls(content_type, compressed.read_bytes())
        return cls.of(content_type, path.read_bytes())

    def response(self) -> Response:
        """The answer to the current request: 304 where its If-None-Match names this content."""
        is_gzip_accepted = request.accept_encodings.quality("gzip") > 0
        content = self._compressed if is_gzip_accepted else gzip.decompress(self._compressed)
        response = Response(content, content_type=self._content_type)
        if is_gzip_accepted:
            response.headers["Content-Encoding"] = "gzip"
        response.vary.add("Accept-Encoding")
        response.headers["Cache-Control"] = "no-cache"  # but may be kept, and asked for by its ETag
        # Weak: it stands for both codings.
        response.set_etag(self._etag, weak=True)
        response.make_conditional(request)
        return response


def page_headers(policy: str) -> dict[str, str]:
    """The header fields of a page and its files that bind a browser.

    Args:
        policy: From where the page may load what, as Content-Security-Policy has it.
    """
    return {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
    }
