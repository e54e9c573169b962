"""Rules of what /predict takes: raw bytes, multipart forms, JSON."""

import base64
import io
import json
import random
import re
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from gateway.forms.base64_text import decode_image
from gateway.forms.inputs import input_form
from tests.support.gateway_fakes import FakeBackend, app_for
from tests.support.gateway_forms import assert_refused, form, post_json
from utils.domain import MAX_IMAGE_ID_CHARACTERS, MAX_METADATA_CHARACTERS, OPTION_NAMES, DetectOptions
from utils.errors import InvalidRequest

IMAGE = bytes(range(256)) * 8
TEXT = base64.b64encode(IMAGE).decode()
LIMIT = 4096


@pytest.fixture
def backend() -> FakeBackend:
    """A backend that answers."""
    return FakeBackend()


@pytest.fixture
def client(backend: FakeBackend) -> FlaskClient:
    """The gateway before it, with a small limit."""
    return app_for(backend, FACET_MAX_IMAGE_BYTES=str(LIMIT)).test_client()


# --- raw --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        "image/jpeg",
        "image/x-odd",
        "image/*",
        "Application/Octet-Stream",
        "binary/octet-stream",
        "image/png; a=b",
        None,
        "",
    ],
)
def test_a_raw_body_of_any_image_type_or_of_none_is_the_image(
    client: FlaskClient, backend: FakeBackend, kind: str | None
) -> None:
    """The bytes reach the backend as they came; no Content-Type means bytes, as in HTTP."""
    response = client.post("/predict", data=IMAGE, content_type=kind)
    assert response.status_code == 200
    assert backend.requests[0].image == IMAGE
    assert backend.requests[0].options == DetectOptions()


def test_a_raw_body_takes_options_and_image_id_from_the_query(
    client: FlaskClient, backend: FakeBackend
) -> None:
    """Each parameter arrives under its own name, percent-encoded UTF-8 decoded."""
    query = "min_face_size=40&threshold_output=9e-1&max_faces=3.0&image_id=caf%C3%A9%20%00"
    response = client.post(f"/predict?{query}", data=IMAGE, content_type="image/jpeg")
    assert response.get_json()["image_id"] == "café \0"
    options = backend.requests[0].options
    assert options == DetectOptions(min_face_size=40, threshold_output=0.9, max_faces=3)
    assert isinstance(options.max_faces, int)


@pytest.mark.parametrize(
    ("query", "reason", "field"),
    [
        ("min_face_sise=40", "UNKNOWN_OPTION", "options.min_face_sise"),
        ("metadata=x", "UNKNOWN_OPTION", "options.metadata"),
        ("min_face_size=9", "OPTION_OUT_OF_RANGE", "options.min_face_size"),
        ("min_face_size=", "OPTION_OUT_OF_RANGE", "options.min_face_size"),
        ("min_face_size=nan", "OPTION_OUT_OF_RANGE", "options.min_face_size"),
        ("min_face_size=true", "OPTION_OUT_OF_RANGE", "options.min_face_size"),
        ("max_faces=2.5", "OPTION_OUT_OF_RANGE", "options.max_faces"),
        ("threshold_proposal=0", "OPTION_OUT_OF_RANGE", "options.threshold_proposal"),
        ("min_face_size=40&min_face_size=50", "MALFORMED_REQUEST", "min_face_size"),
        ("image_id=%ff", "MALFORMED_REQUEST", None),
    ],
)
def test_a_wrong_query_is_refused_by_name(
    client: FlaskClient, query: str, reason: str, field: str | None
) -> None:
    """No parameter is ignored."""
    response = client.post(f"/predict?{query}", data=IMAGE, content_type="image/jpeg")
    assert_refused(response, 400, reason, field)


def test_an_unknown_option_is_answered_with_the_known_ones(client: FlaskClient) -> None:
    """The detail lists them."""
    response = client.post("/predict?size=4", data=IMAGE, content_type="image/jpeg")
    detail = assert_refused(response, 400, "UNKNOWN_OPTION", "options.size")
    assert "min_face_size, threshold_proposal" in detail


def test_an_empty_raw_body_is_an_empty_image(client: FlaskClient) -> None:
    """It is not a picture without faces."""
    response = client.post("/predict", data=b"", content_type="image/jpeg")
    assert_refused(response, 400, "IMAGE_EMPTY", "image")


def test_a_raw_body_may_have_exactly_the_limit(client: FlaskClient) -> None:
    """One byte more is refused, with both numbers and the setting."""
    assert client.post("/predict", data=b"x" * LIMIT, content_type="image/jpeg").status_code == 200
    response = client.post("/predict", data=b"x" * (LIMIT + 1), content_type="image/jpeg")
    detail = assert_refused(response, 413, "IMAGE_TOO_LARGE", "image")
    assert "4097" in detail
    assert "4096 (FACET_MAX_IMAGE_BYTES)" in detail


# --- multipart --------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("cut", [3, 30, 60, -3, -9])
def test_a_form_that_was_cut_off_is_malformed(client: FlaskClient, cut: int) -> None:
    """Wherever the cut is."""
    body, kind = form(("image", IMAGE))
    response = client.post("/predict", data=body[:cut], content_type=kind)
    assert_refused(response, 400, "MALFORMED_REQUEST")


HEAD = b'Content-Disposition: form-data; name="image"'


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
    body, kind = form(("image", b"x" * (LIMIT + 64 * 1024)))
    detail = assert_refused(client.post("/predict", data=body, content_type=kind), 413, "BODY_TOO_LARGE")
    assert str(LIMIT + 64 * 1024) in detail
    assert "FACET_MAX_IMAGE_BYTES" in detail


# --- JSON -------------------------------------------------------------------------------------------


def test_json_gives_image_options_id_and_metadata(client: FlaskClient, backend: FakeBackend) -> None:
    """A number may be written as an integer where a float is meant."""
    response = post_json(
        client,
        {
            "image": TEXT,
            "image_id": "a:b",
            "metadata": {"shot": "12", "": "empty"},
            "options": {"min_face_size": 40, "max_faces": None},
        },
    )
    assert response.get_json()["metadata"] == {"shot": "12", "": "empty"}
    sent = backend.requests[0]
    assert (sent.image, sent.image_id, sent.options) == (IMAGE, "a:b", DetectOptions(min_face_size=40))


@pytest.mark.parametrize(
    "text",
    [
        f"data:image/jpeg;base64,{TEXT}",
        f"DATA:;charset=x;BASE64,{TEXT}",
        base64.encodebytes(IMAGE).decode(),
        f" {TEXT[:7]}\r\n\t{TEXT[7:]}\n",
        f"\r\n data:image/jpeg; base64 ,\n{TEXT}\r\n",
        TEXT.rstrip("="),
        base64.urlsafe_b64encode(IMAGE).decode(),
        base64.urlsafe_b64encode(IMAGE).decode().rstrip("=") + "\n",
        TEXT.replace("+", "-"),
    ],
)
def test_json_takes_base64_however_it_is_written(
    client: FlaskClient, backend: FakeBackend, text: str
) -> None:
    """In a data: URI, with white space, without padding, in either alphabet or in both."""
    assert post_json(client, {"image": text}).status_code == 200
    assert backend.requests[0].image == IMAGE


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("QUJD*UJD", "image has '*' at offset 4, which base64 does not have"),
        ("QU JD\nQ.JD", "image has '.' at offset 7, which base64 does not have"),
        ("QUJDé", "image has 'é' at offset 4"),
        ("QUJD\0", r"image has '\x00' at offset 4"),
        ("data:image/png;base64,QU%D", "image has '%' at offset 2, which"),
        ("QQ==QUJD", "image has '=' at offset 2, before its end"),
        ("QUJDQ", "image ends at offset 5 with 5 characters, which no bytes give"),
        ("QUJDQ Q=", "image ends at offset 8 with 7 characters"),
        ("QUJD=", "image ends at offset 5 with 5 characters"),
        ("Q===", "image has '=' at offset 1 more than twice"),
    ],
)
def test_bad_base64_is_named_with_its_place(client: FlaskClient, text: str, detail: str) -> None:
    """The offset counts the characters of the base64 text as it was sent."""
    said = assert_refused(post_json(client, {"image": text}), 400, "INVALID_BASE64", "image")
    assert detail in said


def test_a_body_of_more_values_than_a_request_needs_is_malformed(backend: FakeBackend) -> None:
    """They are counted before they are made; texts of nothing but commas are within the number."""
    client = app_for(backend).test_client()
    for mark in ("[]", "{}", "0"):
        values = f"[{f'{mark},' * 67_584}0]".encode()
        response = post_json(client, b'{"image": "QQ==", "metadata": {"a": %b}}' % values)
        assert "67584" in assert_refused(response, 400, "MALFORMED_REQUEST")
        body, kind = form(("image", b"x"), ("metadata", values))
        response = client.post("/predict", data=body, content_type=kind)
        assert "67584" in assert_refused(response, 400, "MALFORMED_REQUEST", "metadata")
    commas = {"metadata": {"": "," * MAX_METADATA_CHARACTERS}, "image_id": "," * MAX_IMAGE_ID_CHARACTERS}
    assert post_json(client, {"image": TEXT, **commas}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"image": [' + b"{}," * 300_000 + b'"a:b"]}',
        b"--B\r\n" + HEAD + b"\r\n\r\nx\r\n--B\r\n" + b"a\n" * 500_000 + b"\r\n\r\nx\r\n--B--\r\n",
        form(("image", b"x"), ("metadata", b"[" + b"{}," * 300_000 + b"0]"))[0],
    ],
    ids=["values", "head", "metadata"],
)
def test_a_body_that_is_refused_has_cost_a_few_times_its_own_memory_at_most(body: bytes) -> None:
    """Whatever it was made to cost."""
    kind = "multipart/form-data; boundary=B" if body.startswith(b"--B") else "application/json"
    read = input_form(kind, None, str, 10 * 1024**2)
    assert refusal_peak(lambda: read.parse(body, "")) < 4 * len(body)


@pytest.mark.parametrize("end", ["-", "😀"])
def test_base64_that_is_refused_has_cost_a_few_times_its_own_memory_at_most(end: str) -> None:
    """Also with a blank after each character."""
    text = "A " * 500_000 + end
    assert refusal_peak(lambda: decode_image(text)) < 4 * len(text)


def refusal_peak(refused: Callable[[], object]) -> int:
    """Bytes that were allocated at most while something was refused."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest):
            refused()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_null_is_absent(client: FlaskClient, backend: FakeBackend) -> None:
    """Whatever may be left out may be null, in JSON and in the metadata of a form."""
    nothing = {"image_id": None, "metadata": None, "options": None}
    assert post_json(client, {"image": TEXT, **nothing}).status_code == 200
    options = dict.fromkeys(OPTION_NAMES)
    assert post_json(client, {"image": TEXT, "options": options}).status_code == 200
    body, kind = form(("image", IMAGE), ("metadata", b"null"))
    assert client.post("/predict", data=body, content_type=kind).status_code == 200
    for sent in backend.requests:
        assert (sent.image, sent.options, sent.image_id, dict(sent.metadata)) == (
            IMAGE,
            DetectOptions(),
            "",
            {},
        )


def test_a_byte_order_mark_before_json_is_passed_over(client: FlaskClient, backend: FakeBackend) -> None:
    """Also where the text has to be looked through for names that come twice."""
    for image in (TEXT, f"data:;base64,{TEXT}"):
        assert post_json(client, json.dumps({"image": image}).encode("utf-8-sig")).status_code == 200
    body, kind = form(("image", IMAGE), ("metadata", '{"a": "b"}'.encode("utf-8-sig")))
    assert client.post("/predict", data=body, content_type=kind).get_json()["metadata"] == {"a": "b"}
    assert [sent.image for sent in backend.requests] == [IMAGE] * 3


@pytest.mark.parametrize(
    ("value", "shown"),
    [("many", '"many"'), (True, "true"), ([1, "a"], '[1,"a"]'), (2.5, "2.5"), (1e300, "1e+300")],
)
def test_a_wrong_option_is_quoted_once_as_it_was_written(
    client: FlaskClient, value: object, shown: str
) -> None:
    """In JSON's own words."""
    response = post_json(client, {"image": TEXT, "options": {"max_faces": value}})
    detail = assert_refused(response, 400, "OPTION_OUT_OF_RANGE", "options.max_faces")
    assert detail.startswith(f"options.max_faces is {shown}; accepted: a whole number from 1 to 1000")


def test_a_deeply_nested_body_is_malformed(client: FlaskClient) -> None:
    """Whether this Python can look into it for names that come twice, or runs out of stack."""
    nested = b'{"image": %s0%s, "image": "QQ=="}' % (b"[" * 1000, b"]" * 1000)
    response = post_json(client, nested)
    assert (response.status_code, response.get_json()["reason"]) == (400, "MALFORMED_REQUEST")


@pytest.mark.parametrize(
    ("body", "reason", "field"),
    [
        (b"", "MALFORMED_REQUEST", None),
        (b"hello", "MALFORMED_REQUEST", None),
        (b"null", "MALFORMED_REQUEST", None),
        (b"[]", "MALFORMED_REQUEST", None),
        (b'{"image": ' + b"[" * 60_000, "MALFORMED_REQUEST", None),
        (b'{"image": "\xff"}', "MALFORMED_REQUEST", None),
        (b'{"image": "QQ==", "image_id": "\\ud800"}', "MALFORMED_REQUEST", None),
        (b'{"image": "QQ==", "options": {"max_faces": 1e999}}', "MALFORMED_REQUEST", None),
        (b'{"image": "QQ==", "options": {"max_faces": NaN}}', "MALFORMED_REQUEST", None),
        (b'{"image": "QQ==", "image": "QQ=="}', "MALFORMED_REQUEST", "image"),
        (b'{"image": "QQ==", "options": {"max_faces": 1, "max_faces": 2}}', "MALFORMED_REQUEST", "max_faces"),
        (b'{"image": "QQ==", "metadata": {"a": "1", "a": "2"}}', "MALFORMED_REQUEST", "a"),
    ],
)
def test_a_body_that_is_no_request_is_malformed(
    client: FlaskClient, body: bytes, reason: str, field: str | None
) -> None:
    """Whatever is wrong, it is told, and it is not an internal error."""
    assert_refused(post_json(client, body), 400, reason, field)


def test_200_000_nested_brackets_are_malformed(backend: FakeBackend) -> None:
    """They exhaust no stack."""
    client = app_for(backend).test_client()
    assert_refused(post_json(client, b"[" * 200_000), 400, "MALFORMED_REQUEST")
    assert_refused(post_json(client, b'{"image": ' + b"[" * 200_000), 400, "MALFORMED_REQUEST")


@pytest.mark.parametrize(
    ("members", "reason", "field"),
    [
        ({}, "IMAGE_MISSING", "image"),
        ({"image": None}, "IMAGE_MISSING", "image"),
        ({"image": ""}, "IMAGE_EMPTY", "image"),
        ({"image": "data:image/jpeg;base64,"}, "IMAGE_EMPTY", "image"),
        ({"image": 5}, "MALFORMED_REQUEST", "image"),
        ({"image": ["QQ=="]}, "MALFORMED_REQUEST", "image"),
        ({"image": "data:image/jpeg,QQ=="}, "MALFORMED_REQUEST", "image"),
        ({"image": TEXT, "imageId": "x"}, "MALFORMED_REQUEST", "imageId"),
        ({"image": TEXT, "image_id": 5}, "MALFORMED_REQUEST", "image_id"),
        ({"image": TEXT, "options": []}, "MALFORMED_REQUEST", "options"),
        ({"image": TEXT, "options": {"x": 1}}, "UNKNOWN_OPTION", "options.x"),
        ({"image": TEXT, "options": {"max_faces": 0}}, "OPTION_OUT_OF_RANGE", "options.max_faces"),
        ({"image": TEXT, "options": {"max_faces": 10**19}}, "OPTION_OUT_OF_RANGE", "options.max_faces"),
        ({"image": TEXT, "options": {"max_faces": True}}, "OPTION_OUT_OF_RANGE", "options.max_faces"),
        (
            {"image": TEXT, "options": {"threshold_output": {"a": 1}}},
            "OPTION_OUT_OF_RANGE",
            "options.threshold_output",
        ),
        ({"image": TEXT, "metadata": ["a"]}, "MALFORMED_REQUEST", "metadata"),
        ({"image": TEXT, "metadata": {"a": 1}}, "MALFORMED_REQUEST", "metadata.a"),
    ],
)
def test_a_wrong_member_is_refused_by_name(
    client: FlaskClient, members: dict[str, Any], reason: str, field: str
) -> None:
    """Each has its reason and its field."""
    assert_refused(post_json(client, members), 400, reason, field)


def test_an_error_repeats_only_the_beginning_of_what_was_sent(client: FlaskClient) -> None:
    """A long value does not come back as a long answer."""
    for members in (
        {"image": TEXT, "options": {"max_faces": "9" * 5000}},
        {"image": TEXT, "options": {"m" * 5000: 1}},
        {"image": TEXT, "x" * 5000: 1},
        {"image": TEXT, "metadata": {"m" * 5000: 1}},
    ):
        assert len(post_json(client, members).data) < 1500


def test_a_json_image_has_the_images_limit(client: FlaskClient) -> None:
    """It counts decoded bytes."""
    text = base64.b64encode(b"x" * (LIMIT + 1)).decode()
    assert_refused(post_json(client, {"image": text}), 413, "IMAGE_TOO_LARGE", "image")


@pytest.mark.parametrize(
    ("byte", "write"),
    [
        (0x00, lambda text: wrapped(text, 76, "\n")),
        (0x00, lambda text: wrapped(text, 64, "\r\n")),
        (None, lambda text: text.replace("+", r"\u002B").replace("/", r"\u002F")),
        (0xFF, lambda text: wrapped(text, 76, "\r\n").replace("/", r"\/")),
    ],
    ids=["lines of 76", "lines of 64", "plus and slash as six characters", "lines of 76, slash as two"],
)
def test_an_image_at_its_limit_fits_into_json_however_it_is_written(
    byte: int | None, write: Callable[[str], str]
) -> None:
    """As encoders break base64 into lines and escape it, with anything in the image."""
    limit = 10 * 1024**2
    image = bytes([byte]) * limit if byte is not None else random.Random(7).randbytes(limit)
    read = input_form("application/json", None, str, limit)
    text = write(base64.b64encode(image).decode())
    note = json.dumps({"note": "x" * 60_000})
    body = f'{{"image": "{text}", "metadata": {note}}}'.encode()
    assert len(body) <= read.limit < 3 * limit
    assert read.parse(body, "").image == image


def wrapped(text: str, width: int, end: str) -> str:
    """A text in lines, as JSON writes their ends."""
    lines = (text[start : start + width] for start in range(0, len(text), width))
    return json.dumps(end)[1:-1].join(lines)


def test_a_query_may_stand_beside_any_body(client: FlaskClient, backend: FakeBackend) -> None:
    """What is in the one is added to what is in the other; null in the body is not there."""
    url = "/predict?max_faces=3&image_id=q"
    post_json(
        client, {"image": TEXT, "image_id": None, "options": {"min_face_size": 40, "max_faces": None}}, url
    )
    body, kind = form(("image", IMAGE), ("min_face_size", b"40"))
    client.post(url, data=body, content_type=kind)
    assert [(sent.image_id, sent.options) for sent in backend.requests] == [
        ("q", DetectOptions(min_face_size=40, max_faces=3))
    ] * 2


@pytest.mark.parametrize("name", ["max_faces", "image_id"])
def test_what_is_in_the_query_and_in_the_body_is_given_twice(client: FlaskClient, name: str) -> None:
    """Which of the two is meant nobody can know, even where they are equal."""
    url = f"/predict?{name}=3"
    members = {"image_id": "3"} if name == "image_id" else {"options": {name: 3}}
    body, kind = form(("image", IMAGE), (name, b"3"))
    for response in (
        post_json(client, {"image": TEXT, **members}, url),
        client.post(url, data=body, content_type=kind),
    ):
        detail = assert_refused(response, 400, "MALFORMED_REQUEST", name)
        assert f"'{name}' is given twice, in the query and in the body" in detail


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=B"])
def test_an_unknown_name_in_the_query_is_refused_beside_any_body(client: FlaskClient, kind: str) -> None:
    """And so is an option that the body cannot have under its own name."""
    body = form(("image", IMAGE))[0] if "multipart" in kind else json.dumps({"image": TEXT}).encode()
    for name in ("min_face_sise", "metadata", "options"):
        response = client.post(f"/predict?{name}=40", data=body, content_type=kind)
        assert_refused(response, 400, "UNKNOWN_OPTION", f"options.{name}")


# --- other ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text/plain", "image/", "application/x-www-form-urlencoded"])
def test_another_content_type_is_answered_with_two_commands_that_work(client: FlaskClient, kind: str) -> None:
    """They name the host that was asked."""
    response = client.post("/predict", data=IMAGE, content_type=kind, headers={"Host": "faces:8000"})
    detail = assert_refused(response, 415, "UNSUPPORTED_CONTENT_TYPE", "Content-Type")
    assert "curl -F image=@photo.jpg http://faces:8000/predict" in detail
    assert "-H 'Content-Type: application/json' -d @- http://faces:8000/predict" in detail
