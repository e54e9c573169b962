"""Bodies of /predict requests, and what a refusal of one must say."""

import base64
import json
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

IMAGE = bytes(range(256)) * 8
TEXT = base64.b64encode(IMAGE).decode()
LIMIT = 4096
"""Bytes of an image, where a test sets a small limit."""
HEAD = b'Content-Disposition: form-data; name="image"'


def post_json(client: FlaskClient, body: Any, url: str = "/predict") -> TestResponse:  # noqa: ANN401
    """Post a document, or bytes as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(url, data=data, content_type="application/json")


def assert_refused(response: TestResponse, status: int, reason: str, field: str | None = None) -> str:
    """Check a problem and return its detail."""
    problem = response.get_json()
    assert (response.status_code, problem["reason"], problem.get("field")) == (status, reason, field), problem
    detail: str = problem["detail"]
    return detail


def form(*parts: tuple[str, bytes]) -> tuple[bytes, str]:
    """A multipart body of parts without filenames, and its Content-Type."""
    body = b"".join(
        b'--B\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)
        for name, value in parts
    )
    return body + b"--B--\r\n", "multipart/form-data; boundary=B"
