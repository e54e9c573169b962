"""Rules of what /predict takes in every form, and of raw bodies with their query."""

import json
import tracemalloc
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from gateway.forms.base64_text import decode_image
from gateway.forms.inputs import input_form
from tests.support.gateway_fakes import FakeBackend, app_for
from tests.support.gateway_forms import HEAD, IMAGE, LIMIT, TEXT, assert_refused, form, post_json
from utils.domain import MAX_IMAGE_ID_CHARACTERS, MAX_METADATA_CHARACTERS, DetectOptions
from utils.errors import InvalidRequest


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


@pytest.mark.security(
    endpoint="gateway",
    attack="JSON of more than 67,584 values",
    outcome="400",
)
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


@pytest.mark.security(
    endpoint="gateway",
    attack="JSON, forms and metadata that are made to cost memory",
    outcome="Refused; they take less than four times their own size",
)
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


@pytest.mark.security(
    endpoint="gateway",
    attack="A megabyte of base64 that turns out wrong at its end",
    outcome="Refused; it takes less than four times its own size",
)
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


@pytest.mark.parametrize("kind", ["text/plain", "image/", "application/x-www-form-urlencoded"])
def test_another_content_type_is_answered_with_two_commands_that_work(client: FlaskClient, kind: str) -> None:
    """They name the host that was asked."""
    response = client.post("/predict", data=IMAGE, content_type=kind, headers={"Host": "faces:8000"})
    detail = assert_refused(response, 415, "UNSUPPORTED_CONTENT_TYPE", "Content-Type")
    assert "curl -F image=@photo.jpg http://faces:8000/predict" in detail
    assert "-H 'Content-Type: application/json' -d @- http://faces:8000/predict" in detail
