"""Rules of request bodies under a Content-Encoding."""

import base64
import gzip
import json
import tracemalloc
import zlib

import pytest
from flask.testing import FlaskClient

from gateway.forms.compression import coding_of, uncompress
from gateway.forms.inputs import input_form
from tests.support.gateway_fakes import FakeBackend, app_for
from tests.support.gateway_forms import IMAGE, LIMIT, assert_refused, form
from utils.errors import ImageTooLarge, PayloadTooLarge

BOMB = gzip.compress(bytes(64 * 1024**2))


@pytest.mark.parametrize("coding", ["gzip", "GZip", "x-gzip", "identity, gzip", "gzip,"])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (IMAGE, "image/jpeg"),
        (json.dumps({"image": base64.b64encode(IMAGE).decode()}).encode(), "application/json"),
        form(("image", IMAGE)),
    ],
    ids=["raw", "json", "form"],
)
def test_a_gzipped_body_means_what_is_in_it(
    client: FlaskClient, backend: FakeBackend, body: bytes, kind: str, coding: str
) -> None:
    """In every form."""
    headers = {"Content-Encoding": coding}
    response = client.post("/predict", data=gzip.compress(body), content_type=kind, headers=headers)
    assert response.status_code == 200
    assert backend.requests[0].image == IMAGE


@pytest.mark.parametrize("coding", ["identity", "", "Identity, identity"])
def test_no_coding_may_be_called_identity(client: FlaskClient, backend: FakeBackend, coding: str) -> None:
    """The body is as it came."""
    headers = {"Content-Encoding": coding}
    assert client.post("/predict", data=IMAGE, headers=headers).status_code == 200
    assert backend.requests[0].image == IMAGE


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "deflate, gzip", "gzip, br", "utf-8"])
def test_another_coding_is_named_beside_those_that_are_accepted(client: FlaskClient, coding: str) -> None:
    """In the detail and, as HTTP has it, in Accept-Encoding; which no other 415 has."""
    response = client.post("/predict", data=IMAGE, headers={"Content-Encoding": coding})
    detail = assert_refused(response, 415, "UNSUPPORTED_CONTENT_ENCODING", "Content-Encoding")
    assert f"'{coding}'; accepted: gzip" in detail
    assert response.headers["Accept-Encoding"] == "gzip, deflate, identity"
    other = client.post("/predict", data=IMAGE, content_type="text/plain")
    assert (other.status_code, other.headers.get("Accept-Encoding")) == (415, None)


@pytest.mark.parametrize("split", [0, 1, 1000, len(IMAGE)])
def test_several_members_are_one_body(split: int) -> None:
    """As the format has it, wherever one ends and the next begins."""
    body = gzip.compress(IMAGE[:split]) + gzip.compress(IMAGE[split:]) + gzip.compress(b"")
    coding = coding_of("gzip")
    assert coding is not None
    assert uncompress(body, coding, len(IMAGE), ImageTooLarge) == IMAGE


@pytest.mark.security(
    endpoint="gateway",
    attack="Damaged gzip, other formats, and gzip of 8,193 members",
    outcome="400",
)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no gzip at all",
        IMAGE,
        zlib.compress(IMAGE),
        gzip.compress(IMAGE)[:-1],
        gzip.compress(IMAGE)[:30],
        gzip.compress(IMAGE)[:-8] + bytes(8),
        gzip.compress(IMAGE) + b"rest",
        gzip.compress(b"") * 8193,
    ],
    ids=["empty", "text", "image", "zlib", "cut", "cut early", "checksum", "rest", "too many members"],
)
def test_damaged_gzip_is_malformed(backend: FakeBackend, body: bytes) -> None:
    """Never a picture that was cut off."""
    client = app_for(backend).test_client()
    headers = {"Content-Encoding": "gzip"}
    for kind in ("image/jpeg", "application/json"):
        response = client.post("/predict", data=body, content_type=kind, headers=headers)
        assert_refused(response, 400, "MALFORMED_REQUEST", "Content-Encoding")


@pytest.mark.parametrize("coding", ["deflate", "Deflate"])
def test_a_body_in_the_form_of_zlib_means_what_is_in_it(
    client: FlaskClient, backend: FakeBackend, coding: str
) -> None:
    """Which is what HTTP calls deflate."""
    headers = {"Content-Encoding": coding}
    assert client.post("/predict", data=zlib.compress(IMAGE), headers=headers).status_code == 200
    assert backend.requests[0].image == IMAGE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        IMAGE,
        gzip.compress(IMAGE),
        zlib.compress(IMAGE)[2:-4],
        zlib.compress(IMAGE)[:-1],
        zlib.compress(IMAGE) + zlib.compress(b""),
    ],
    ids=["empty", "image", "gzip", "raw", "cut", "two streams"],
)
def test_damaged_deflate_is_malformed(client: FlaskClient, body: bytes) -> None:
    """Other forms that have been called deflate are not guessed."""
    response = client.post("/predict", data=body, headers={"Content-Encoding": "deflate"})
    assert "deflate" in assert_refused(response, 400, "MALFORMED_REQUEST", "Content-Encoding")


@pytest.mark.security(
    endpoint="gateway",
    attack="64 MiB in a small body of gzip or deflate, where 1 MiB is accepted",
    outcome="413; less than three times the limit is held meanwhile",
)
@pytest.mark.parametrize(
    ("coding", "bomb"), [("gzip", BOMB), ("deflate", zlib.compress(bytes(64 * 1024**2)))]
)
@pytest.mark.parametrize(
    ("kind", "reason"), [("image/jpeg", "IMAGE_TOO_LARGE"), ("application/json", "BODY_TOO_LARGE")]
)
def test_what_is_in_a_compressed_body_has_the_limit_of_the_body(
    kind: str, reason: str, coding: str, bomb: bytes
) -> None:
    """And no more than the limit is made of one that would be far larger."""
    read = input_form(kind, coding, str, 1024**2)
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge) as raised:
            read.parse(bomb, "")
        assert tracemalloc.get_traced_memory()[1] < 3 * read.limit
    finally:
        tracemalloc.stop()
    assert raised.value.reason == reason


def test_an_image_at_its_limit_may_be_gzipped_though_that_makes_it_larger(client: FlaskClient) -> None:
    """Where there is nothing to compress; one byte more in it is refused."""
    headers = {"Content-Encoding": "gzip"}
    stored = [gzip.compress(bytes(size), compresslevel=0) for size in (LIMIT, LIMIT + 1)]
    assert len(stored[0]) > LIMIT
    statuses = [client.post("/predict", data=body, headers=headers).status_code for body in stored]
    assert statuses == [200, 413]


def test_a_compressed_body_is_refused_by_its_length_alone_where_that_is_enough() -> None:
    """Whatever gzip may add to the largest body is within the limit."""
    for kind in ("image/jpeg", "application/json", "multipart/form-data; boundary=B"):
        plain, compressed = (input_form(kind, coding, str, 10 * 1024**2) for coding in (None, "gzip"))
        stored = len(gzip.compress(bytes(plain.limit), compresslevel=0))
        assert plain.limit < stored <= compressed.limit < 1.01 * plain.limit
        assert "compressed bytes" in compressed.too_large("99999999").detail
