"""Rules of a gateway that describes itself: what it answers, caches, and pages of other origins."""

import contextlib
import gzip
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.described_gateway import PAGE, described_gateway
from tests.support.gateway_process import Gateway, Reply, post, read, read_reply
from tests.support.openapi import check, described, undescribed
from tests.support.pictures import ASTRONAUT


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for all tests of this module."""
    with described_gateway(tmp_path_factory.mktemp("backend")) as running:
        yield running


def get(served: Gateway, path: str, **headers: str) -> Reply:
    """GET with these headers, named with underscores."""
    with contextlib.closing(served.open()) as connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers=named)
        return read(connection.getresponse())


def test_what_a_real_backend_answers_is_described_in_full(served: Gateway) -> None:
    """Faces, and models with their schemas."""
    document: Mapping[str, Any] = served.get("/openapi.json").json
    found = served.predict(ASTRONAUT.read_bytes())
    with contextlib.closing(served.open()) as connection:
        headers = {"Content-Type": "image/png"}
        path = "/predict?include=quality,crops,annotated"
        connection.request("POST", path, ASTRONAUT.read_bytes(), headers)
        full = read(connection.getresponse())
    assert len(found.json["results"]) == 1
    assert {"annotated", "crops_omitted"} == full.json.keys() - found.json.keys()
    answers = {"/models": served.get("/models"), "/models/echo": served.get("/models/echo")}
    for path, method, reply in (
        ("/predict", "POST", found),
        ("/predict", "POST", full),
        *((path, "GET", reply) for path, reply in answers.items()),
    ):
        schema = described(document, path, method, 200)["content"]["application/json"]["schema"]
        check(document, schema, reply.json)
        assert undescribed(document, schema, reply.json) == []
    assert "/models/echo/1.0/predict" in document["paths"]


def test_each_process_gives_the_document_the_same_etag(served: Gateway) -> None:
    """It is made of the content alone; and 304 has none, so that the connection can be used on."""
    with contextlib.closing(served.open()) as connection:
        connection.request("GET", "/openapi.json", headers={"Accept-Encoding": "gzip"})
        first = read(connection.getresponse())
        assert json.loads(gzip.decompress(first.body))["openapi"].startswith("3.1")
        for _ in range(2):
            headers = {"Accept-Encoding": "gzip", "If-None-Match": first.headers["ETag"]}
            connection.request("GET", "/openapi.json", headers=headers)
            again = read(connection.getresponse())
            assert (again.status, again.body) == (304, b"")
        connection.request("HEAD", "/docs")
        assert read(connection.getresponse()).status == 200


def test_a_page_may_read_a_refusal_before_the_application(served: Gateway) -> None:
    """For what is wrong with the head of a request, or with how its body comes."""
    with contextlib.closing(served.open()) as connection:
        refused = post(connection, Origin=PAGE, Content_Type="text/plain")
    with contextlib.closing(served.open()) as connection:
        too_large = post(connection, Origin=PAGE, Content_Length=str(10**9))
    for reply, status in ((refused, 415), (too_large, 413)):
        assert reply.status == status
        assert reply.headers["Access-Control-Allow-Origin"] == PAGE
        assert reply.headers["Vary"] == "Origin"
    other = get(served, "/nowhere", Origin="https://other.example")
    assert other.status == 404
    assert "Access-Control-Allow-Origin" not in other.headers


def test_a_head_that_cannot_be_read_is_refused_without_a_word_of_origins(served: Gateway) -> None:
    """Nobody knows from where it comes; no browser sends one."""
    with served.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nOrigin: %s\r\n\r\n" % PAGE.encode())
        reply = read_reply(connection)
    assert reply.status == 400
    assert "Access-Control-Allow-Origin" not in reply.headers
