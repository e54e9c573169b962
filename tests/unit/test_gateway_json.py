"""Rules of what /predict takes in JSON."""

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway.forms.inputs import input_form
from tests.support.gateway_fakes import FakeBackend, app_for
from tests.support.gateway_forms import IMAGE, LIMIT, TEXT, assert_refused, form, post_json
from utils.domain import OPTION_NAMES, DetectOptions


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


@pytest.mark.security(
    endpoint="gateway",
    attack=(
        "JSON with NaN, 1e999, half a surrogate, bytes that are no UTF-8, a name twice, or without an end"
    ),
    outcome="400; a name that is there twice is told",
)
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
        (
            b'{"image": "QQ==", "options": {"max_faces": 1, "max_faces": 2}}',
            "MALFORMED_REQUEST",
            "options.max_faces",
        ),
        (b'{"image": "QQ==", "metadata": {"a": "1", "a": "2"}}', "MALFORMED_REQUEST", "metadata.a"),
    ],
)
def test_a_body_that_is_no_request_is_malformed(
    client: FlaskClient, body: bytes, reason: str, field: str | None
) -> None:
    """Whatever is wrong, it is told, and it is not an internal error."""
    assert_refused(post_json(client, body), 400, reason, field)


@pytest.mark.security(
    endpoint="gateway",
    attack="200,000 nested brackets",
    outcome="400",
)
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
