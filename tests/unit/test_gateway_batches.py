"""Rules of /predict/batch that need no connection: what it takes, and what it answers."""

import io
import json
import threading
import time
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse
from werkzeug.wrappers import Response

from gateway.arrival import Arrival, Client
from tests.support.batches import END, KIND, PATH, Answered, batch, file, of_files, option, outcomes
from tests.support.gateway_fakes import FakeBackend, app_for
from tests.support.gateway_forms import LIMIT, assert_refused
from tests.support.openapi import check
from tests.support.processes import wait_until
from utils.errors import (
    BackendUnavailable,
    BrokenImage,
    DeadlineExceeded,
    FacetError,
    InternalError,
    QueueFull,
)


def post(client: FlaskClient, body: bytes, url: str = PATH, **headers: str) -> TestResponse:
    """Post a batch; headers are named with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(url, data=body, content_type=KIND, headers=named, buffered=True)


def answered(response: Response) -> Answered:
    """The answer as a client would have it."""
    fields = {name.lower(): value for name, value in response.headers.items()}
    return Answered(response.status_code, fields, response.data)


def test_each_file_is_a_picture_of_its_own(client: FlaskClient, backend: FakeBackend) -> None:
    """Answered with the members of /predict, its place and its name, whatever its field is called."""
    alone = client.post("/predict", data=b"x", content_type="image/jpeg").get_json()
    body = batch(file(b"x", "käse.jpg"), file(b"xy", "b.png").replace(b'"file"', b'"other"'))
    items = answered(post(client, body)).items
    assert items == [
        {"index": 0, "name": "käse.jpg", "status": 200, **alone},
        {"index": 1, "name": "b.png", "status": 200, **alone},
    ]
    assert sorted(one.image for one in backend.requests[1:]) == [b"x", b"xy"]


def test_options_are_those_of_each_picture(client: FlaskClient, backend: FakeBackend) -> None:
    """From the query and from the form, with id and metadata; a browser may send metadata as a file."""
    metadata = file(b'{"a": "b"}', "blob").replace(b'"file"', b'"metadata"')
    body = batch(option("max_faces", "3"), metadata, option("image_id", "mine"), file(b"x"), file(b"y"))
    items = answered(post(client, body, f"{PATH}?min_face_size=40")).items
    assert [(item["image_id"], item["metadata"]) for item in items] == [("mine", {"a": "b"})] * 2
    for sent in backend.requests:
        assert (sent.options.min_face_size, sent.options.max_faces) == (40, 3)


def test_what_is_wanted_beside_the_faces_is_wanted_of_each_picture(client: FlaskClient) -> None:
    """By the same options as of /predict, of which one may come several times."""
    include = [option("include", "quality"), option("include", "annotated")]
    alone = client.post("/predict?include=quality&include=annotated", data=b"x").get_json()
    assert {"annotated"} <= {*alone}
    items = answered(post(client, batch(*include, file(b"x"), file(b"y")))).items
    assert [item | alone for item in items] == items


@pytest.mark.parametrize(
    ("parts", "reason", "field"),
    [
        ([], "IMAGE_MISSING", None),
        ([option("max_faces", "3")], "IMAGE_MISSING", None),
        ([option("max_faces", "0"), file(b"x")], "OPTION_OUT_OF_RANGE", "options.max_faces"),
        ([option("max_face", "3"), file(b"x")], "UNKNOWN_OPTION", "options.max_face"),
        ([option("max_faces", "3")] * 2 + [file(b"x")], "MALFORMED_REQUEST", "max_faces"),
        ([option("metadata", " " * 2**20), file(b"x")], "MALFORMED_REQUEST", "metadata"),
        ([option("a", "https://example.org/a.jpg")], "MALFORMED_REQUEST", "image"),
        ([b"--B\r\nX: y\r\n\r\n\r\n", file(b"x")], "MALFORMED_REQUEST", None),
    ],
)
def test_a_batch_that_is_wrong_before_its_first_picture_is_refused(
    client: FlaskClient, backend: FakeBackend, parts: list[bytes], reason: str, field: str | None
) -> None:
    """By its status; no picture is looked at."""
    assert_refused(post(client, batch(*parts)), 400, reason, field)
    assert backend.requests == []


def test_options_in_both_places_are_refused(client: FlaskClient) -> None:
    """As they are by /predict."""
    body = batch(option("max_faces", "3"), file(b"x"))
    assert_refused(post(client, body, f"{PATH}?max_faces=3"), 400, "MALFORMED_REQUEST", "max_faces")


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({"Content_Type": "image/jpeg"}, 415, "UNSUPPORTED_CONTENT_TYPE"),
        ({"Content_Type": "multipart/form-data"}, 400, "MALFORMED_REQUEST"),
        ({"Content_Encoding": "gzip"}, 415, "UNSUPPORTED_CONTENT_ENCODING"),
        ({"X_Request_Timeout": "soon"}, 400, "INVALID_HEADER"),
    ],
)
def test_a_batch_with_another_head_is_refused(
    client: FlaskClient, headers: dict[str, str], status: int, reason: str
) -> None:
    """The field that is wrong is named, and what would be right."""
    [(name, value)] = headers.items()
    field = name.replace("_", "-")
    kind = value if name == "Content_Type" else KIND
    extra = {} if name == "Content_Type" else {field: value}
    response = client.post(PATH, data=of_files([b"x"]), content_type=kind, headers=extra)
    assert_refused(response, status, reason, field)
    if status == 415 and extra:
        assert response.headers["Accept-Encoding"] == "identity"


WRONG = {
    "an option": ([option("max_faces", "3")], 400, "MALFORMED_REQUEST"),
    "a part without a head": ([b"--B\r\n\r\nx\r\n"], 400, "MALFORMED_REQUEST"),
    "no end": ([b"--B\r\n"], 400, "MALFORMED_REQUEST"),
    "a third file": ([file(b"c")], 413, "BODY_TOO_LARGE"),
}
"""What comes after two files, where two are accepted, and what it means."""


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_behind_a_picture_has_a_status_until_one_is_answered(name: str) -> None:
    """Then the last line tells it, after those of all pictures that came before."""
    parts, status, reason = WRONG[name]
    first, rest = file(b"a") + file(b"b") + b"--B", b"".join(parts)[3:] + (b"" if name == "no end" else END)
    backend = FakeBackend()
    client = app_for(backend, FACET_MAX_BATCH_ITEMS="2").test_client()
    backend.holding = threading.Event()
    refused = client.post(PATH, content_type=KIND, input_stream=Pieces(first, rest))
    assert_refused(refused, status, reason, "max_faces" if name == "an option" else None)
    backend.holding.set()
    body = Pieces(first + rest[:1], rest[1:])
    body.rest_comes.clear()
    with client.post(PATH, content_type=KIND, input_stream=body) as response:
        body.rest_comes.set()
        *items, last = answered(response).lines
    assert sorted(item["index"] for item in items) == [0, 1]
    assert (last["done"], last["ok"], last["failed"]) == (False, 2, 0)
    assert (last["problem"]["status"], last["problem"]["reason"]) == (status, reason)


class Pieces(io.BytesIO):
    """A body of two pieces, of which the second one comes when it may."""

    def __init__(self, first: bytes, rest: bytes) -> None:
        super().__init__(first + rest)
        self._first = len(first)
        self.rest_comes = threading.Event()
        self.rest_comes.set()

    def read1(self, size: int | None = -1, /) -> bytes:
        if self.tell() == 0:
            return self.read(self._first)
        assert self.rest_comes.wait(30)
        return self.read(size)


def test_a_picture_that_fails_is_one_line_and_the_others_go_on() -> None:
    """With the problem that /predict would have given, and the delay for which that has a header field."""
    backend = FakeBackend()
    backend.failures = {
        b"broken": BrokenImage("cut", field="image"),
        b"full": QueueFull("full", retry_after=90),
        b"late": DeadlineExceeded("late"),
        b"odd": ValueError("secret"),
    }
    client = app_for(backend, FACET_MAX_IMAGE_BYTES=str(LIMIT)).test_client()
    pictures = [b"broken", b"", bytes(LIMIT + 1), b"full", b"late", b"odd", bytes(LIMIT)]
    response = answered(post(client, of_files(pictures), X_Request_ID="me"))
    *failed, last = items = response.items
    assert [item["problem"]["reason"] for item in failed] == [
        "BROKEN_IMAGE", "IMAGE_EMPTY", "IMAGE_TOO_LARGE", "QUEUE_FULL", "DEADLINE_EXCEEDED", "INTERNAL",
    ]  # fmt: skip
    assert [item["status"] for item in items] == [422, 400, 413, 429, 504, 500, 200]
    assert last["name"] == "6.jpg"
    assert failed[3]["problem"]["retry_after"] == 90
    assert str(LIMIT + 1) in failed[2]["problem"]["detail"]
    assert failed[5]["problem"]["detail"] == InternalError.message
    alone = client.post("/predict", data=b"broken", content_type="image/jpeg", headers={"X-Request-ID": "me"})
    assert failed[0]["problem"] == alone.get_json()


@pytest.mark.parametrize(
    "failure", [QueueFull("full", retry_after=0.01), BackendUnavailable("restarted", retry_after=0.01)]
)
def test_what_passes_by_itself_is_waited_out_within_the_time_of_the_picture(failure: FacetError) -> None:
    """As often as it takes: a full queue, and a backend that comes back."""
    backend = FakeBackend()
    refusals = 3

    def refuse(_request: Any) -> None:  # noqa: ANN401
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise failure

    backend.before = refuse
    items = answered(post(app_for(backend).test_client(), of_files([b"x"]), X_Request_Timeout="30")).items
    assert outcomes(items) == [200]
    assert len(backend.requests) == 4
    assert backend.timeouts_named == [True] * 4
    given = [timeout for timeout in backend.timeouts if timeout is not None]
    assert sorted(given, reverse=True) == given


def test_a_backend_that_stays_away_is_waited_for_once() -> None:
    """By the pictures that are under way; those behind them fail at their first call."""
    backend = FakeBackend()
    backend.failures = {b"x": BackendUnavailable("away", retry_after=0.1)}
    pictures = [b"x"] * 8
    response = post(app_for(backend).test_client(), of_files(pictures), X_Request_Timeout="0.5")
    items = answered(response).items
    assert [item["problem"]["reason"] for item in items] == ["BACKEND_UNAVAILABLE"] * 8
    begun_together, calls_of_one = 2, 5
    assert len(pictures) < len(backend.requests) <= begun_together * calls_of_one + len(pictures)


def test_the_time_of_a_picture_is_counted_from_its_last_byte(backend: FakeBackend) -> None:
    """However long ago the head of its batch came."""
    client = app_for(backend, FACET_TIMEOUT_SECONDS="2").test_client()
    environ: dict[str, Any] = {}
    Arrival(head_ended=time.monotonic() - 100, body_ended=time.monotonic() - 100).add_to(environ)
    for timeout, named in ((None, False), ("3", True)):
        headers = {} if timeout is None else {"X-Request-Timeout": timeout}
        with client.post(
            PATH, data=of_files([b"x"]), content_type=KIND, headers=headers, environ_overrides=environ
        ) as response:
            assert outcomes(answered(response).items) == [200]
        assert backend.timeouts_named[-1] is named
        assert backend.timeouts[-1] == pytest.approx(3 if named else 2, abs=1)


def test_sixteen_pictures_are_answered_at_once_at_most(backend: FakeBackend) -> None:
    """More, up to that, the more were answered before."""
    client = app_for(backend).test_client()
    together = [0]
    most = [0]
    lock = threading.Lock()

    def count(_request: Any) -> None:  # noqa: ANN401
        with lock:
            together[0] += 1
            most[0] = max(most[0], together[0])
        time.sleep(0.02)
        with lock:
            together[0] -= 1

    backend.before = count
    assert len(answered(post(client, of_files([b"x"] * 100))).items) == 100
    assert 4 < most[0] <= 16


def test_one_list_is_given_to_whoever_wants_one_document(client: FlaskClient) -> None:
    """In the order of the files."""
    lines = answered(post(client, of_files([b"a", b"", b"c"]))).items
    response = post(client, of_files([b"a", b"", b"c"]), Accept="application/json")
    assert (response.status_code, response.content_type) == (200, "application/json")
    for item in [*lines, *response.get_json()]:
        item.get("problem", {}).pop("request_id", None)
    assert response.get_json()[0] == lines[0]
    assert [item["index"] for item in response.get_json()] == [0, 1, 2]
    for accept in ("*/*", "application/x-ndjson", "application/json;q=0.5, application/x-ndjson"):
        assert post(client, of_files([b"a"]), Accept=accept).content_type == "application/x-ndjson"


def test_a_document_may_have_eight_mebibytes(backend: FakeBackend) -> None:
    """Line by line the same answers are sent."""
    client = app_for(backend).test_client()
    metadata = option("metadata", json.dumps({"": "x" * 60_000}))
    body = batch(metadata, *[file(b"x")] * 100)
    assert len(answered(post(client, body)).items) == 100
    assert len(post(client, body, Accept="application/json").get_json()) == 100
    body = batch(option("metadata", json.dumps({"": "ä" * 60_000})), *[file(b"x")] * 100)
    detail = assert_refused(post(client, body, Accept="application/json"), 413, "BATCH_ANSWER_TOO_LARGE")
    assert "application/x-ndjson" in detail
    assert len(answered(post(client, body)).items) == 100


def test_a_document_is_refused_as_a_whole_where_the_batch_is_wrong(client: FlaskClient) -> None:
    """Also behind pictures that were answered."""
    body = b"".join([file(b"x")] * 50)
    assert_refused(post(client, body, Accept="application/json"), 400, "MALFORMED_REQUEST")


def test_who_has_left_is_answered_no_picture(backend: FakeBackend) -> None:
    """And no thread waits for one."""

    class Gone(Client):
        left = True

        def on_disconnect(self, callback: Any) -> None:  # noqa: ANN401
            if callback is not None:
                callback()

    environ: dict[str, Any] = {}
    Arrival(client=Gone()).add_to(environ)
    client = app_for(backend).test_client()
    response = client.post(PATH, data=of_files([b"x"] * 20), content_type=KIND, environ_overrides=environ)
    assert response.status_code == 499
    wait_until(lambda: not [one for one in threading.enumerate() if one.name.startswith("batch")], "the end")


def test_lines_are_as_described(client: FlaskClient) -> None:
    """Those of pictures that are found or fail, and the last one."""
    document = client.get("/openapi.json").get_json()
    lines = document["components"]["schemas"]["BatchLine"]
    parts = [file(b"x"), file(b"")]
    for body in (batch(*parts), b"".join(parts * 20)):
        for line in answered(post(client, body)).lines:
            check(document, lines, line)
    response = post(client, batch(*parts), Accept="application/json")
    content = document["paths"][PATH]["post"]["responses"]["200"]["content"]
    check(document, content["application/json"]["schema"], response.get_json())
    assert response.content_type in content
    assert post(client, batch(*parts)).content_type in content
