"""The ways in which a picture reaches `/predict`, and our client, behind one function each.

Each takes an address, a picture with options and the seconds that it has, and gives an `Answer`: what came
back, in the same words for all. `tests.support.face_endpoints` has all ways that there are.
"""

import base64
import gzip
import http.client
import json
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import grpc

from utils.channel import error_of
from utils.domain import Detection, DetectOptions, DetectRequest
from utils.errors import Code, FacetError, error_class
from utils.service_client import ServiceClient
from utils.settings import parse_address


@dataclass(frozen=True)
class Answer:
    """What an endpoint said: the reason of an error, or none and the faces.

    A face is fifteen numbers: its box, its landmarks, its confidence.
    """

    reason: str | None
    faces: list[list[float]] | None
    http_status: int
    body: dict[str, Any] | None = None


ANY_SIZE = [("grpc.max_send_message_length", -1)]
"""Of a channel that sends what only the server refuses."""

Options = Mapping[str, Any]
"""Of a detection; some that are sent to be refused have no name or type of any option."""


def numbers(value: Any) -> list[float]:  # noqa: ANN401 - any JSON
    """All numbers of a document, in its order; null is none."""
    if value is None:
        return []
    if isinstance(value, int | float):
        return [value]
    members = value.values() if isinstance(value, Mapping) else value
    return [number for member in members for number in numbers(member)]


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


def post_raw(address: str, picture: bytes, options: Options, seconds: float = 60) -> Answer:
    """The bytes of the file as the body, options in the query."""
    return _post(address, _path(options), picture, seconds, **{"Content-Type": "application/octet-stream"})


def post_gzip(address: str, picture: bytes, options: Options, seconds: float = 60) -> Answer:
    """The same, compressed."""
    headers = {"Content-Type": "image/*", "Content-Encoding": "gzip"}
    return _post(address, _path(options), gzip.compress(picture, 1), seconds, **headers)


def post_form(address: str, picture: bytes, options: Options, seconds: float = 60) -> Answer:
    """A form, as curl -F sends it."""
    boundary = "----facet-test-boundary"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in options.items()
    ]
    head = 'Content-Disposition: form-data; name="image"; filename="photo.jpg"'
    parts.append(f"--{boundary}\r\n{head}\r\nContent-Type: image/jpeg\r\n\r\n".encode() + picture + b"\r\n")
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return _post(
        address, "/predict", body, seconds, **{"Content-Type": f"multipart/form-data; boundary={boundary}"}
    )


def post_json(address: str, picture: bytes, options: Options, seconds: float = 60) -> Answer:
    """JSON with the picture as base64."""
    return post_document(address, "/predict", picture, options, seconds)


def post_document(address: str, path: str, picture: bytes, options: Options, seconds: float) -> Answer:
    """The same to a path that takes it."""
    document = {"image": base64.b64encode(picture).decode(), "options": dict(options)}
    body = json.dumps(document).encode()
    return _post(address, path, body, seconds, **{"Content-Type": "application/json"})


def call_grpc(address: str, picture: bytes, options: Options, seconds: float = 60) -> Answer:
    """The client, over gRPC; limits are the server's to check."""
    try:
        request = DetectRequest(picture, DetectOptions(**options))
        with ServiceClient(address, timeout=seconds, max_image_bytes=64 * 1024**2) as client:
            detection = client.detect(request)
    except FacetError as error:
        return refusal(error)
    return found(detection)


def found(detection: Detection) -> Answer:
    """A detection as an answer."""
    return Answer(None, [numbers(astuple(face)) for face in detection.faces], 200)


def refusal(error: FacetError) -> Answer:
    """An error as an answer."""
    return Answer(error.reason, None, error.http_status)


def called(call: Callable[[], Any], read: Callable[[Any], Answer]) -> Answer:
    """What a call of gRPC answers; fails where its code is not that of its reason."""
    try:
        answer = call()
    except grpc.RpcError as error:
        failed = error
    else:
        return read(answer)
    meant = error_of(failed)
    assert Code(failed.code().value[0]) is meant.code
    return refusal(meant)


def problem(status: int, headers: Mapping[str, str], said: dict[str, Any]) -> Answer:
    """A problem document as an answer; fails where its reason is not one of this status."""
    kind = error_class(said["reason"])
    assert kind is not None
    assert (status, headers["content-type"]) == (kind.http_status, "application/problem+json")
    assert said["status"] == status
    assert "results" not in said
    return Answer(said["reason"], None, status, said)


def _path(options: Options) -> str:
    return "/predict?" + urllib.parse.urlencode(options)


def _post(address: str, path: str, body: bytes, seconds: float, **headers: str) -> Answer:
    headers["X-Request-Timeout"] = f"{seconds:g}"
    status, answered, raw = http_request(address, "POST", path, body, headers)
    said = json.loads(raw)
    if status != 200:
        return problem(status, answered, said)
    return Answer(None, [numbers(face) for face in said["results"]], status, said)


HTTP_ENDPOINTS = {"raw": post_raw, "gzip": post_gzip, "form": post_form, "json": post_json}
