"""What the gateway serves from memory: compressed, and not again to a client that has it already."""

import gzip
import hashlib

from flask import Response, request


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
