"""Rules of what /predict takes in a multipart form."""

import io
import json
import re
import socket
import urllib.parse
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from gateway.forms.inputs import input_form
from tests.support.gateway_fakes import FakeBackend, app_for
from tests.support.gateway_forms import HEAD, IMAGE, LIMIT, TEXT, assert_refused, form, post_json
from utils.domain import MAX_METADATA_CHARACTERS


def test_a_form_gives_image_options_id_and_metadata(client: FlaskClient, backend: FakeBackend) -> None:
    """Metadata is a field of JSON; the part's filename does not matter."""
    response = client.post(
        "/predict",
        data={
            "image": (io.BytesIO(IMAGE), "../x.jpg"),
            "min_face_size": "33.5",
            "image_id": "käse",
            "metadata": '{"shot": "12"}',
        },
    )
    assert response.get_json()["metadata"] == {"shot": "12"}
    sent = backend.requests[0]
    assert (sent.image, sent.image_id, sent.options.min_face_size) == (IMAGE, "käse", 33.5)


def test_the_image_may_be_a_field_without_a_filename(client: FlaskClient, backend: FakeBackend) -> None:
    """Not every client sends one."""
    body, kind = form(("image", IMAGE))
    assert client.post("/predict", data=body, content_type=kind).status_code == 200
    assert backend.requests[0].image == IMAGE


@pytest.mark.parametrize(
    ("parts", "reason", "field"),
    [
        ([], "IMAGE_MISSING", "image"),
        ([("picture", b"x")], "IMAGE_MISSING", "image"),
        ([("image", b"")], "IMAGE_EMPTY", "image"),
        ([("image", b"x"), ("image", b"y")], "MALFORMED_REQUEST", "image"),
        ([("image", b"x"), ("imageid", b"y")], "UNKNOWN_OPTION", "options.imageid"),
        ([("image", b"x"), ("image_id", b"\xff")], "MALFORMED_REQUEST", "image_id"),
        ([("image", b"x"), ("max_faces", b"many")], "OPTION_OUT_OF_RANGE", "options.max_faces"),
        ([("image", b"x"), ("metadata", b"{")], "MALFORMED_REQUEST", "metadata"),
        ([("image", b"x"), ("metadata", b'{"a": 1}')], "MALFORMED_REQUEST", "metadata.a"),
        ([("image", b"x"), ("metadata", b'{"a": "1", "a": "2"}')], "MALFORMED_REQUEST", "a"),
        ([(f"part{n}", b"x") for n in range(200)], "MALFORMED_REQUEST", None),
    ],
)
def test_a_wrong_form_is_refused_by_name(
    client: FlaskClient, parts: list[tuple[str, bytes]], reason: str, field: str | None
) -> None:
    """No part is ignored."""
    body, kind = form(*parts)
    assert_refused(client.post("/predict", data=body, content_type=kind), 400, reason, field)


@pytest.mark.parametrize("name", ["file", "img", "photo", "images", "data", "upload", "image[]", ""])
def test_the_only_file_of_a_form_is_the_image_whatever_it_is_called(
    client: FlaskClient, backend: FakeBackend, name: str
) -> None:
    """Also beside metadata that a browser sends as a file."""
    metadata = (io.BytesIO(b'{"shot": "12"}'), "blob")
    response = client.post("/predict", data={"metadata": metadata, name: (io.BytesIO(IMAGE), "x.jpg")})
    assert response.get_json()["metadata"] == {"shot": "12"}
    assert backend.requests[0].image == IMAGE


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"left": (io.BytesIO(IMAGE), "x"), "right": (io.BytesIO(IMAGE), "x")}, "more than one file"),
        ({"photo": "photo.jpg", "max_faces": "5"}, "no file; what came: 'photo', 'max_faces'"),
        ({}, "no file; what came: no part at all"),
    ],
    ids=["two files", "no file", "nothing"],
)
def test_a_form_without_a_sure_image_is_told_what_came(
    client: FlaskClient, parts: dict[str, Any], words: str
) -> None:
    """With a command that sends one."""
    response = client.post("/predict", data=parts, content_type="multipart/form-data")
    detail = assert_refused(response, 400, "IMAGE_MISSING", "image")
    assert words in detail
    assert all(f"'{name}'" in detail for name in parts)
    assert "curl -F image=@photo.jpg http://localhost/predict" in detail


@pytest.mark.security(
    endpoint="gateway",
    attack="A URL or the name of a file in the place of a picture",
    outcome="400 that says how to send the picture itself",
)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "https://example.com/a.jpg?b=c",
            "curl -s URL | curl --data-binary @- -H 'Content-Type: image/*' http://",
        ),
        (" s3://bucket/a", "pictures are never fetched"),
        (
            "photo.jpg",
            "image is the name 'photo.jpg' and not a picture; send the file itself: curl -F image=@",
        ),
        ("C:\\my photos\\Käse.HEIC", "not a picture"),
    ],
)
def test_an_image_that_only_says_where_it_is_is_told_how_to_send_it(
    client: FlaskClient, text: str, words: str
) -> None:
    """A URL, or a file's name as curl's -F sends it without @; in a form and in JSON."""
    body, kind = form(("image", text.encode()))
    for response in (
        client.post("/predict", data=body, content_type=kind),
        post_json(client, {"image": text}),
    ):
        assert words in assert_refused(response, 400, "MALFORMED_REQUEST", "image")


@pytest.mark.parametrize("name", ["image", "url", "image_url"])
def test_a_url_where_there_should_be_a_picture_is_told_how_to_send_that(
    client: FlaskClient, backend: FakeBackend, name: str
) -> None:
    """Whatever it is called, in each form and in the query; only a caller's name for a picture may be one."""
    url = "https://example.com/a.jpg"
    body, kind = form((name, url.encode()))
    in_query = f"/predict?{urllib.parse.urlencode({name: url})}"
    for response in (
        client.post("/predict", data=body, content_type=kind),
        post_json(client, {name: url}),
        client.post(in_query),
        client.post(in_query, data=IMAGE, content_type="image/jpeg"),
        post_json(client, {"image": TEXT}, in_query),
    ):
        detail = assert_refused(response, 400, "MALFORMED_REQUEST", name)
        assert detail.startswith(f"{name} is a URL; pictures are never fetched")
        assert "curl -s URL | curl --data-binary @- -H 'Content-Type: image/*' http://localhost/" in detail
    assert not backend.requests
    client.post(f"/predict?image_id={url}", data=IMAGE, content_type="image/jpeg")
    assert backend.requests[0].image_id == url


@pytest.mark.security(
    endpoint="gateway",
    attack="A URL of this machine in the place of a picture, to have it fetched (SSRF)",
    outcome="400; nobody connects there",
)
def test_a_url_in_the_place_of_an_image_is_not_fetched(client: FlaskClient) -> None:
    """In a form, nor in JSON."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a.jpg"
        body, kind = form(("image", url.encode()))
        for response in (
            client.post("/predict", data=body, content_type=kind),
            post_json(client, {"image": url}),
        ):
            assert_refused(response, 400, "MALFORMED_REQUEST", "image")
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.security(
    endpoint="gateway",
    attack="A form that was cut off, at five places",
    outcome="400",
)
@pytest.mark.parametrize("cut", [3, 30, 60, -3, -9])
def test_a_form_that_was_cut_off_is_malformed(client: FlaskClient, cut: int) -> None:
    """Wherever the cut is."""
    body, kind = form(("image", IMAGE))
    response = client.post("/predict", data=body[:cut], content_type=kind)
    assert_refused(response, 400, "MALFORMED_REQUEST")


@pytest.mark.parametrize(
    "body",
    [
        b"--B\r\n" + HEAD + b"\r\n\r\nx\r\n--B--",
        b"\r\n--B \t\r\n" + HEAD + b"\r\n\r\nx\r\n--B--\r\nwhat follows\r\n--B\r\n",
        b"what comes before\r\n--B\r\n" + HEAD + b"\r\n\r\nx\r\n--B--\r\n",
        b"--B\r\nContent-Type: a/b\r\ncontent-disposition:form-data;\r\n name=image\r\n\r\nx\r\n--B--\r\n",
        b"--B\n" + HEAD + b"\n\nx\n--B--\n",
        b"--B\r\n" + HEAD + b'; filename="K\xe4se.jpg"\r\n\r\nx\r\n--B--\r\n',
    ],
    ids=["no last line end", "padded", "preamble", "folded", "line feeds", "Latin-1"],
)
def test_a_form_may_be_written_as_mime_has_it(client: FlaskClient, backend: FakeBackend, body: bytes) -> None:
    """And with lines that end by LF alone, as people write one by hand, or a file name in Latin-1."""
    kind = "multipart/form-data; boundary=B"
    assert client.post("/predict", data=body, content_type=kind).status_code == 200
    assert backend.requests[0].image == b"x"


@pytest.mark.parametrize(
    "body",
    [
        b"--C\r\n" + HEAD + b"\r\n\r\nx\r\n--C--\r\n",
        b"--B\r\n" + HEAD + b"\r\n\r\nx\r\n--B\r\n\r\n\r\nx\r\n--B--\r\n",
        b"--B\r\n" + HEAD + b"\r\n\r\nx\r\n",
    ],
    ids=["boundary", "no name", "cut off"],
)
def test_a_form_that_cannot_be_taken_apart_is_malformed(client: FlaskClient, body: bytes) -> None:
    """Whatever is wrong with it."""
    response = client.post("/predict", data=body, content_type="multipart/form-data; boundary=B")
    assert_refused(response, 400, "MALFORMED_REQUEST")


@pytest.mark.security(
    endpoint="gateway",
    attack="A part of a form with a head of 13,000 lines",
    outcome="400",
)
@pytest.mark.parametrize("line", [b"a:b\r\n", b"a\n"])
@pytest.mark.parametrize("before", [b"", b"x", b"--B\r\n" + HEAD + b"\r\n\r\nx\r\n"])
def test_the_head_of_a_part_has_a_limit(client: FlaskClient, before: bytes, line: bytes) -> None:
    """Taking one apart costs many times the memory of its bytes."""
    body = before + b"--B\r\n" + HEAD + b"\r\n" + line * 13_000 + b"\r\nx\r\n--B--\r\n"
    response = client.post("/predict", data=body, content_type="multipart/form-data; boundary=B")
    assert "accepted: 16384 bytes, then an empty line" in assert_refused(response, 400, "MALFORMED_REQUEST")


_near_boundaries = st.lists(
    st.sampled_from([b"\r", b"\n", b"-", b"--B", b"B", b"\r\n--", b"\x00\xff"]), min_size=1, max_size=9
).map(b"".join)


@given(_near_boundaries.filter(lambda value: not re.search(rb"(^|[\r\n])--B", value)))
def test_a_part_is_what_is_between_its_boundaries(value: bytes) -> None:
    """To the byte, however much it looks like one."""
    body, kind = form(("image", value), ("image_id", b""))
    request = input_form(kind, None, str, LIMIT).parse(body, "")
    assert (request.image, request.image_id) == (value, "")


def test_parts_are_the_same_wherever_their_boundaries_lie() -> None:
    """To the byte, though a body is long enough to be read in pieces."""
    for length in range(16_200, 16_460):
        body, kind = form(("image", b"x" * length), ("image_id", b"abc"))
        request = input_form(kind, None, str, 10**6).parse(body, "")
        assert (len(request.image), request.image_id) == (length, "abc")


def test_metadata_at_its_limits_fits_into_a_form_however_it_is_written(backend: FakeBackend) -> None:
    """Also where each of its characters takes twelve bytes."""
    app = app_for(backend)
    metadata = {"": "😀" * MAX_METADATA_CHARACTERS}
    body, kind = form(("image", b"x"), ("metadata", json.dumps(metadata).encode()))
    assert app.test_client().post("/predict", data=body, content_type=kind).status_code == 200
    assert backend.requests[0].metadata == metadata
    body, kind = form(("image", b"x"), ("metadata", b" " * 1024**2 + b"{}"))
    response = app.test_client().post("/predict", data=body, content_type=kind)
    assert "1048576" in assert_refused(response, 400, "MALFORMED_REQUEST", "metadata")


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=ä"])
def test_a_form_needs_a_boundary(client: FlaskClient, kind: str) -> None:
    """Without one nothing can be taken apart."""
    response = client.post("/predict", data=form(("image", IMAGE))[0], content_type=kind)
    assert_refused(response, 400, "MALFORMED_REQUEST", "Content-Type")


def test_a_forms_image_has_the_images_limit_and_its_body_64_kib_more(client: FlaskClient) -> None:
    """The one is about the image, the other about what is around it."""
    body, kind = form(("image", b"x" * (LIMIT + 1)))
    assert_refused(client.post("/predict", data=body, content_type=kind), 413, "IMAGE_TOO_LARGE", "image")
    whole = input_form(kind, None, lambda: "", LIMIT)
    assert whole.limit == LIMIT + 64 * 1024
    failure = whole.too_large("70000")
    assert failure.reason == "BODY_TOO_LARGE"
    assert str(whole.limit) in failure.detail
    assert "FACET_MAX_IMAGE_BYTES" in failure.detail
