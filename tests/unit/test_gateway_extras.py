"""Rules of what may be wanted beside the faces over HTTP: how it is asked for, refused and answered."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.gateway_fakes import ANNOTATED, CROP, QUALITY, FakeBackend, app_for
from tests.support.gateway_forms import IMAGE, TEXT, assert_refused, form, post_json
from utils.errors import ExtrasNotAnswered
from utils.extras import Annotated, Crops, Wanted

Post = Callable[[FlaskClient, Mapping[str, Any], str], TestResponse]
Options = Mapping[str, Any]


def texts(options: Options) -> list[tuple[str, str]]:
    """Options as texts by name, a list as one text for each of its items."""
    listed = [(name, one if isinstance(one, list) else [one]) for name, one in options.items()]
    return [
        (name, item if isinstance(item, str) else json.dumps(item))
        for name, items in listed
        for item in items
    ]


def post_raw(client: FlaskClient, options: Options, path: str = "/predict") -> TestResponse:
    """Options in the query."""
    return client.post(path, data=IMAGE, content_type="image/jpeg", query_string=texts(options))


def post_form(client: FlaskClient, options: Options, path: str = "/predict") -> TestResponse:
    """Options as parts."""
    parts = [(name, text.encode()) for name, text in texts(options)]
    body, kind = form(("image", IMAGE), *parts)
    return client.post(path, data=body, content_type=kind)


def post_document(client: FlaskClient, options: Options, path: str = "/predict") -> TestResponse:
    """Options in JSON."""
    return post_json(client, {"image": TEXT, "options": options}, path)


FORMS: Mapping[str, Post] = {"raw": post_raw, "form": post_form, "json": post_document}
everywhere = pytest.mark.parametrize("post", FORMS.values(), ids=FORMS)

ALL: Options = {
    "min_face_size": 40,
    "include": ["quality", "crops", "annotated"],
    "crop_size": 160.0,
    "crop_shape": "box",
    "crop_margin": 0.25,
    "crop_max": 3,
    "annotated_longest_side": 640,
    "annotated_landmarks": True,
    "annotated_scores": True,
}


@everywhere
def test_all_that_may_be_wanted_can_be_asked_for_in_every_form(
    client: FlaskClient, backend: FakeBackend, post: Post
) -> None:
    """And has its defaults where its options are not given."""
    assert post(client, ALL, "/predict").status_code == 200
    assert post(client, {"include": ["crops", "annotated"]}, "/predict").status_code == 200
    assert post(client, {"max_faces": 2}, "/predict").status_code == 200
    full = Wanted(True, Crops(160, "box", 0.25, 3), Annotated(640, landmarks=True, scores=True))
    assert [sent.wanted for sent in backend.requests] == [full, Wanted(False, Crops(), Annotated()), Wanted()]
    assert backend.requests[0].options.min_face_size == 40


def test_what_is_wanted_may_be_named_in_one_text_and_in_the_query_beside_any_body(
    client: FlaskClient, backend: FakeBackend
) -> None:
    """Separated by commas, without spaces; null in JSON is not there."""
    assert post_raw(client, {"include": "quality,crops"}).status_code == 200
    assert post_form(client, {"include": "quality,crops"}).status_code == 200
    assert post_document(client, {"include": None, "crop_size": 64}, "/predict?include=quality,crops")
    quality_and_crops = Wanted(quality=True, crops=Crops())
    assert [sent.wanted for sent in backend.requests[:2]] == [quality_and_crops] * 2
    assert backend.requests[2].wanted == Wanted(quality=True, crops=Crops(size=64))


def test_the_answer_has_what_was_wanted_and_nothing_else(client: FlaskClient) -> None:
    """Members of results in one way of writing, those beside them in the other; pictures as base64."""
    without = post_document(client, {}).get_json()
    assert "extras_ms" not in without["timings"]
    answer = post_document(client, {"include": ["quality", "crops", "annotated"]}).get_json()
    [face] = answer["results"]
    assert face.pop("quality") == {
        "sharpness": 123.456789,
        "brightness": QUALITY.brightness,
        "contrast": QUALITY.contrast,
        "rollDegrees": QUALITY.roll_degrees,
        "eyeDistance": QUALITY.eye_distance,
    }
    crop = {
        "data": base64.b64encode(CROP.data).decode(),
        "mediaType": "image/jpeg",
        "width": 112,
        "height": 112,
    }
    assert face.pop("crop") == crop
    drawn = base64.b64encode(ANNOTATED.data).decode()
    assert answer.pop("annotated") == {"data": drawn, "media_type": "image/jpeg", "width": 200, "height": 150}
    assert answer.pop("crops_omitted") == 0
    assert answer["timings"].pop("extras_ms") == 2.5
    assert answer == without
    for kind, members in (("quality", {"quality"}), ("crops", {"crop"}), ("annotated", set())):
        answer = post_raw(client, {"include": kind}).get_json()
        assert {*answer["results"][0]} - {"box", "landmarks", "confidence"} == members
        assert ("annotated" in answer, "crops_omitted" in answer) == (kind == "annotated", kind == "crops")


class Bad(NamedTuple):
    """Options, and what their refusal says."""

    options: Options
    reason: str
    name: str
    quoted: str


BAD = [
    Bad(
        {"include": ["faces"]},
        "OPTION_OUT_OF_RANGE",
        "include",
        "'faces'; accepted: quality or crops or annotated",
    ),
    Bad({"include": [""]}, "OPTION_OUT_OF_RANGE", "include", "''; accepted"),
    Bad({"include": ["crops", "Crops"]}, "OPTION_OUT_OF_RANGE", "include", "'Crops'; accepted"),
    Bad({"include": ["crops", "crops"]}, "MALFORMED_REQUEST", "include", "'crops' twice"),
    Bad({"crop_size": 64}, "MALFORMED_REQUEST", "crop_size", "beside include=crops"),
    Bad(
        {"include": ["crops"], "annotated_scores": True},
        "MALFORMED_REQUEST",
        "annotated_scores",
        "=annotated",
    ),
    Bad(
        {"include": ["crops"], "crop_size": 0}, "OPTION_OUT_OF_RANGE", "crop_size", "is 0; accepted: a whole"
    ),
    Bad({"include": ["crops"], "crop_size": 10_000}, "OPTION_OUT_OF_RANGE", "crop_size", "from 32 to 512"),
    Bad({"include": ["crops"], "crop_size": 64.5}, "OPTION_OUT_OF_RANGE", "crop_size", "is 64.5"),
    Bad({"include": ["crops"], "crop_size": "big"}, "OPTION_OUT_OF_RANGE", "crop_size", "'big'"),
    Bad({"include": ["crops"], "crop_shape": "round"}, "OPTION_OUT_OF_RANGE", "crop_shape", "aligned or box"),
    Bad(
        {"include": ["crops"], "crop_shape": 1},
        "OPTION_OUT_OF_RANGE",
        "crop_shape",
        "is 1; accepted: aligned",
    ),
    Bad(
        {"include": ["crops"], "crop_shape": "box", "crop_margin": 2.1},
        "OPTION_OUT_OF_RANGE",
        "crop_margin",
        "from 0 to 2",
    ),
    Bad({"include": ["crops"], "crop_margin": 0.5}, "OPTION_OUT_OF_RANGE", "crop_margin", "shape aligned: 0"),
    Bad({"include": ["crops"], "crop_max": 0}, "OPTION_OUT_OF_RANGE", "crop_max", "from 1 to 100"),
    Bad({"include": ["crops"], "crop_max": 101}, "OPTION_OUT_OF_RANGE", "crop_max", "from 1 to 100"),
    Bad(
        {"include": ["annotated"], "annotated_longest_side": 63},
        "OPTION_OUT_OF_RANGE",
        "annotated_longest_side",
        "from 64 to 4096",
    ),
    Bad(
        {"include": ["annotated"], "annotated_landmarks": "yes"},
        "OPTION_OUT_OF_RANGE",
        "annotated_landmarks",
        "'yes'; accepted: false or true",
    ),
    Bad(
        {"include": ["annotated"], "annotated_scores": 1}, "OPTION_OUT_OF_RANGE", "annotated_scores", "is 1;"
    ),
    Bad({"crop_sise": 1}, "UNKNOWN_OPTION", "crop_sise", "include, crop_size"),
]


@everywhere
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(bad.options))
def test_what_cannot_be_meant_is_refused_by_name(
    client: FlaskClient, backend: FakeBackend, post: Post, bad: Bad
) -> None:
    """With what came and what is accepted, in every form."""
    field = f"options.{bad.name}"
    detail = assert_refused(post(client, bad.options, "/predict"), 400, bad.reason, field)
    assert bad.quoted in detail
    assert field in detail or bad.reason == "UNKNOWN_OPTION"
    assert backend.requests == []


@pytest.mark.parametrize("value", ["quality", 1, {"quality": True}, [["quality"]], [1], [None]])
def test_in_json_what_is_wanted_is_a_list_of_names(client: FlaskClient, value: Any) -> None:  # noqa: ANN401
    """A text that looks like one could mean a list or a name."""
    detail = assert_refused(
        post_document(client, {"include": value}), 400, "OPTION_OUT_OF_RANGE", "options.include"
    )
    assert "quality or crops or annotated" in detail
    assert ("is no list" in detail) == (not isinstance(value, list))


def test_what_is_wanted_in_query_and_body_is_given_twice(client: FlaskClient) -> None:
    """As any other option."""
    for post in (post_form, post_document):
        response = post(client, {"include": ["crops"]}, "/predict?include=quality")
        assert_refused(response, 400, "MALFORMED_REQUEST", "include")


@pytest.mark.parametrize("name", ["crop_size", "min_face_size", "annotated_scores"])
def test_no_other_name_may_come_several_times(client: FlaskClient, name: str) -> None:
    """In a query or a form."""
    for post in (post_raw, post_form):
        response = post(client, {"include": ["crops"], name: [64, 64]}, "/predict")
        assert_refused(response, 400, "MALFORMED_REQUEST", name)


def test_a_backend_that_does_not_know_what_is_wanted_is_no_success() -> None:
    """The client has looked, and says what is lacking."""
    client = app_for(FakeBackend(ExtrasNotAnswered("lacks quality", field="wanted"))).test_client()
    assert_refused(post_raw(client, {"include": "quality"}), 501, "EXTRAS_NOT_ANSWERED", "wanted")


# --- POST /predict/annotated ------------------------------------------------------------------------


@everywhere
def test_the_annotated_picture_alone_is_answered_at_a_path_of_its_own(
    client: FlaskClient, backend: FakeBackend, post: Post
) -> None:
    """From the same bodies and options, with the number of faces in the head."""
    options = {"min_face_size": 40, "annotated_landmarks": True}
    for more in ({}, {"include": ["annotated"]}):
        response = post(client, {**options, **more}, "/predict/annotated")
        assert (response.status_code, response.content_type) == (200, "image/jpeg")
        assert response.data == ANNOTATED.data
        assert response.headers["X-Facet-Faces"] == "1"
    assert [sent.wanted for sent in backend.requests] == [Wanted(annotated=Annotated(landmarks=True))] * 2
    assert {sent.options.min_face_size for sent in backend.requests} == {40}


@everywhere
@pytest.mark.parametrize(
    ("options", "reason", "name"),
    [
        ({"include": ["quality"]}, "OPTION_OUT_OF_RANGE", "include"),
        ({"include": ["annotated", "crops"]}, "OPTION_OUT_OF_RANGE", "include"),
        ({"crop_size": 64}, "MALFORMED_REQUEST", "crop_size"),
        ({"annotated_longest_side": 10_000}, "OPTION_OUT_OF_RANGE", "annotated_longest_side"),
    ],
)
def test_what_a_picture_cannot_hold_is_refused_at_that_path(
    client: FlaskClient, post: Post, options: Options, reason: str, name: str
) -> None:
    """As a problem document: nothing is asked for that would not come."""
    assert_refused(post(client, options, "/predict/annotated"), 400, reason, f"options.{name}")


def test_that_path_has_the_limits_methods_and_permits_of_the_other(client: FlaskClient) -> None:
    """It takes POST alone, and no more than an image may have."""
    assert client.get("/predict/annotated").status_code == 405
    assert client.post("/predict/annotated/").status_code == 404
    too_large = client.post("/predict/annotated", data=bytes(5000), content_type="image/jpeg")
    assert_refused(too_large, 413, "IMAGE_TOO_LARGE", "image")


def test_pages_may_read_how_many_faces_there_are() -> None:
    """By CORS, where their origin is allowed."""
    client = app_for(FakeBackend(), FACET_ALLOWED_ORIGINS="*").test_client()
    response = client.post("/predict/annotated", data=IMAGE, headers={"Origin": "https://page.example"})
    assert "X-Facet-Faces" in response.headers["Access-Control-Expose-Headers"].split(", ")
