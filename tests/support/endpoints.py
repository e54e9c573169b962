"""The four ways in which a picture reaches Facet, behind one function each: for tests of all of them.

An endpoint takes a picture with options and gives an `Answer`: what came back, in the same words for all.
"""

import base64
import http.client
import json
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from utils.domain import DetectOptions, DetectRequest
from utils.errors import FacetError
from utils.service_client import ServiceClient
from utils.settings import parse_address


@dataclass(frozen=True)
class Answer:
    """What an endpoint said: the reason of an error, or none and the faces as lists of numbers."""

    reason: str | None
    faces: list[list[float]] | None
    http_status: int
    body: dict[str, Any] | None = None


Endpoint = Callable[[str, bytes, Mapping[str, float]], Answer]
"""Takes the endpoint's address, a picture and options."""


def http_request(
    address: str, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request over a connection of its own: status, headers in lower case, body."""
    where = parse_address(address)
    connection = http.client.HTTPConnection(where.host, where.port, timeout=120)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def answers(address: str, path: str, status: int) -> bool:
    """Whether this is what a GET is answered with."""
    try:
        return http_request(address, "GET", path)[0] == status
    except OSError:
        return False


def post_raw(address: str, picture: bytes, options: Mapping[str, float]) -> Answer:
    """The bytes of the file as the body, options in the query."""
    path = "/predict?" + urllib.parse.urlencode(options)
    return _read(address, path, picture, "application/octet-stream")


def post_form(address: str, picture: bytes, options: Mapping[str, float]) -> Answer:
    """A form, as curl -F sends it."""
    boundary = "----facet-test-boundary"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in options.items()
    ]
    head = 'Content-Disposition: form-data; name="image"; filename="photo.jpg"'
    parts.append(f"--{boundary}\r\n{head}\r\nContent-Type: image/jpeg\r\n\r\n".encode() + picture + b"\r\n")
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return _read(address, "/predict", body, f"multipart/form-data; boundary={boundary}")


def post_json(address: str, picture: bytes, options: Mapping[str, float]) -> Answer:
    """JSON with the picture as base64."""
    document = {"image": base64.b64encode(picture).decode(), "options": dict(options)}
    return _read(address, "/predict", json.dumps(document).encode(), "application/json")


def call_grpc(address: str, picture: bytes, options: Mapping[str, float]) -> Answer:
    """The client, over gRPC; limits are the server's to check."""
    try:
        request = DetectRequest(picture, DetectOptions(**options))  # type: ignore[arg-type]
        with ServiceClient(address, timeout=60, max_image_bytes=64 * 1024**2) as client:
            detection = client.detect(request)
    except FacetError as error:
        return Answer(error.reason, None, error.http_status)
    faces = [
        [f.box.up_left.x, f.box.up_left.y, f.box.lower_right.x, f.box.lower_right.y, f.confidence]
        for f in detection.faces
    ]
    return Answer(None, faces, 200)


def _read(address: str, path: str, body: bytes, content_type: str) -> Answer:
    headers = {"Content-Type": content_type, "X-Request-Timeout": "60"}
    status, answered, raw = http_request(address, "POST", path, body, headers)
    said = json.loads(raw)
    if status != 200:
        assert answered["content-type"] == "application/problem+json"
        assert said["status"] == status
        assert "results" not in said
        return Answer(said["reason"], None, status, said)
    faces = [
        [
            r["box"]["upLeft"]["x"],
            r["box"]["upLeft"]["y"],
            r["box"]["lowerRight"]["x"],
            r["box"]["lowerRight"]["y"],
            r["confidence"],
        ]
        for r in said["results"]
    ]
    return Answer(None, faces, status, said)


HTTP_ENDPOINTS: dict[str, Endpoint] = {"raw": post_raw, "form": post_form, "json": post_json}
ENDPOINTS: dict[str, Endpoint] = {**HTTP_ENDPOINTS, "grpc": call_grpc}
