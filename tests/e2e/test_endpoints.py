"""Rules that hold at every endpoint: what is a face at one is a face at all, and so is an error."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import ExifTags, Image

from inference_server.detector.choice import choose
from protos import infer_pb2 as pb
from protos import infer_pb2_grpc
from tests.support.endpoints import (
    ANY_SIZE,
    HTTP_ENDPOINTS,
    Answer,
    Options,
    http_request,
    post_json,
    post_raw,
)
from tests.support.face_endpoints import COUNTING, ENDPOINTS, FREE
from tests.support.facet import TORCHSERVE, Facet, facet
from tests.support.pictures import ASTRONAUT, bare_png, encoded, group_photo, png, png_chunk, portrait
from tests.support.processes import PATIENCE

EVERY = {**ENDPOINTS, **COUNTING}
every_endpoint = pytest.mark.parametrize("endpoint", EVERY)


@pytest.fixture(scope="module")
def service() -> Iterator[Facet]:
    """Gateway and backend with all protocols, shared by the tests of this module."""
    with facet(**TORCHSERVE) as running:
        yield running


def ask(
    service: Facet, endpoint: str, picture: bytes, options: Options | None = None, seconds: float = PATIENCE
) -> Answer:
    """What an endpoint answers."""
    return EVERY[endpoint](service, picture, options or {}, seconds)


def one_bit_png(width: int, height: int) -> bytes:
    """A PNG file that says it is so large, and is a few hundred bytes."""
    return bare_png(width, height, 1, 0, png_chunk(b"IDAT", b""))


def noise(side: int) -> bytes:
    """A PNG file of black and white noise, in which the detector sees a great deal."""
    bits = np.random.default_rng(7).integers(0, 2, (side, side), dtype=np.uint8) * 255
    file = io.BytesIO()
    Image.fromarray(bits).convert("1").save(file, "PNG")
    return file.getvalue()


BAD = {
    "nothing": (b"", "IMAGE_EMPTY"),
    "text": (b"this is not a picture", "UNSUPPORTED_IMAGE_FORMAT"),
    "a picture in a format that is not accepted": (
        encoded(portrait()[:32, :32], "ICO"),
        "UNSUPPORTED_IMAGE_FORMAT",
    ),
    "a JPEG cut in the middle": (encoded(portrait(), "JPEG")[:20_000], "BROKEN_IMAGE"),
    "a PNG cut in its header": (png(portrait())[:20], "BROKEN_IMAGE"),
    "a byte too many": (b"\xff\xd8\xff" + bytes(10 * 1024**2 - 2), "IMAGE_TOO_LARGE"),
    "900 megapixels": (one_bit_png(30_000, 30_000), "TOO_MANY_PIXELS"),
}


def turned(orientation: int) -> bytes:
    """The portrait in a JPEG file that says how it is to be turned."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encoded(np.rot90(portrait()).copy(), "JPEG", exif=exif)


GOOD = {
    "one face": (ASTRONAUT.read_bytes(), 1),
    "several": (encoded(group_photo(), "JPEG"), 5),
    "turned by its EXIF orientation": (turned(6), 1),
    "grey": (encoded(portrait().mean(2).astype(np.uint8), "PNG"), 1),
    "none": (png(np.full((64, 64, 3), 128, np.uint8)), 0),
}
"""Pictures, and how many faces each has."""
HEIC = "odd_images/pillow/avif/hopper.heif"

Reasons = dict[str, str | None]
OF_SCHEMAS: Reasons = {"unknown": "INVALID_INPUT", "no number": "INVALID_INPUT"}
OF_PREDICT: Reasons = {"unknown": "UNKNOWN_OPTION", "no number": "OPTION_OUT_OF_RANGE"}
# Parameters of the Open Inference Protocol may be meant for others.
OF_TENSORS: Reasons = OF_SCHEMAS | {"unknown": None}
NO_OPTION: dict[str, Reasons] = {
    **dict.fromkeys([*HTTP_ENDPOINTS, "batch", *COUNTING], OF_PREDICT),
    **{name: OF_TENSORS for name in FREE if name.startswith("OIP")},
}
"""Reasons for what is no option, by endpoint; OF_SCHEMAS at the others."""


@every_endpoint
@pytest.mark.parametrize(("picture", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_picture_gets_its_reason_and_the_next_request_is_served(
    service: Facet, endpoint: str, picture: bytes, reason: str
) -> None:
    """The same reason at every endpoint, never "no faces", and nobody is the worse for it."""
    answer = ask(service, endpoint, picture)
    assert answer.reason == reason
    assert answer.faces is None
    again = ask(service, endpoint, ASTRONAUT.read_bytes())
    assert len(again.faces or []) == 1


@every_endpoint
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"min_face_size": 9}, "OPTION_OUT_OF_RANGE"),
        ({"threshold_proposal": 0.05}, "OPTION_OUT_OF_RANGE"),
        ({"threshold_output": 1.5}, "OPTION_OUT_OF_RANGE"),
        ({"max_faces": 0}, "OPTION_OUT_OF_RANGE"),
    ],
)
def test_an_option_out_of_range_is_refused(
    service: Facet, endpoint: str, options: dict[str, float], reason: str
) -> None:
    """At every endpoint, and a problem document names the field."""
    answer = ask(service, endpoint, ASTRONAUT.read_bytes(), options)
    assert answer.reason == reason
    if answer.body is not None and "reason" in answer.body:
        assert answer.body["field"] == f"options.{next(iter(options))}"


@pytest.mark.parametrize("endpoint", [*FREE, *COUNTING])
@pytest.mark.parametrize(
    ("case", "options"), [("unknown", {"min_size": 20}), ("no number", {"max_faces": "few"})]
)
def test_an_option_that_is_none_is_refused(
    service: Facet, endpoint: str, case: str, options: Options
) -> None:
    """By the reason that `/predict` has for it, and by that of an input which does not fit its schema."""
    answer = ask(service, endpoint, ASTRONAUT.read_bytes(), options)
    assert answer.reason == NO_OPTION.get(endpoint, OF_SCHEMAS)[case]


@every_endpoint
def test_a_request_without_enough_time_is_told_so(service: Facet, endpoint: str) -> None:
    """Wherever on its way it finds that out; the next one is served."""
    picture = encoded(np.tile(portrait(), (8, 8, 1)), "JPEG")
    assert ask(service, endpoint, picture, seconds=0.05).reason == "DEADLINE_EXCEEDED"
    assert len(ask(service, endpoint, ASTRONAUT.read_bytes()).faces or []) == 1


@pytest.mark.security(
    endpoint="pictures",
    attack="20 megapixels searched for faces of ten pixels, at every endpoint",
    outcome="`PYRAMID_TOO_LARGE` before it is decoded",
)
@every_endpoint
def test_a_pyramid_over_the_limit_is_refused_before_decoding(service: Facet, endpoint: str) -> None:
    """Twenty megapixels searched for faces of ten pixels; the smallest size that fits is named."""
    answer = ask(service, endpoint, one_bit_png(5000, 4000), {"min_face_size": 10})
    assert answer.reason == "PYRAMID_TOO_LARGE"


@pytest.mark.security(
    endpoint="pictures",
    attack="Noise that looks like too many faces, at every endpoint",
    outcome="`TOO_MANY_CANDIDATES`; never a part of the answer",
)
@every_endpoint
def test_too_many_candidates_are_refused(service: Facet, endpoint: str) -> None:
    """Noise with a low threshold; never a part of the answer instead of the answer."""
    options = {"min_face_size": 10, "threshold_proposal": 0.1}
    answer = ask(service, endpoint, noise(1200), options)
    assert answer.reason == "TOO_MANY_CANDIDATES"


@pytest.mark.security(
    endpoint="pictures",
    attack="25 megapixels of noise with the lowest threshold",
    outcome="Answered or refused, at the latest by its deadline; the next picture is answered",
)
@pytest.mark.parametrize("endpoint", ["raw", "client"])
@pytest.mark.parametrize("min_face_size", [10, 20])
def test_the_worst_picture_is_answered_or_refused_within_its_deadline(
    service: Facet, endpoint: str, min_face_size: int
) -> None:
    """Twenty-five megapixels of noise with the lowest threshold."""
    options = {"min_face_size": min_face_size, "threshold_proposal": 0.1}
    answer = ask(service, endpoint, noise(5000), options)
    assert answer.reason in {None, "PYRAMID_TOO_LARGE", "TOO_MANY_CANDIDATES", "DEADLINE_EXCEEDED"}
    assert len(ask(service, endpoint, ASTRONAUT.read_bytes()).faces or []) == 1


@pytest.mark.parametrize("name", GOOD)
def test_every_endpoint_finds_the_same_faces(service: Facet, name: str) -> None:
    """To the last digit of a float32; a picture without faces is an answer without faces."""
    check_faces(service, *GOOD[name])


@pytest.mark.skipif("PHOTOS_DIR" not in os.environ, reason="PHOTOS_DIR names no folder of photographs")
def test_every_endpoint_finds_the_same_face_in_a_heic_file(service: Facet) -> None:
    """Which nothing here can write."""
    check_faces(service, (Path(os.environ["PHOTOS_DIR"]) / HEIC).read_bytes(), 1)


def check_faces(service: Facet, picture: bytes, count: int) -> None:
    """Fail where an endpoint does not find so many faces, or others than the first one."""
    there = [endpoint for endpoint in ENDPOINTS if endpoint not in service.lacks]
    found = [ask(service, endpoint, picture, {"min_face_size": 24}).faces for endpoint in there]
    first = np.array(found[0], np.float32)
    assert first.shape == ((count, 15) if count else (0,))
    for other in found:
        assert np.array_equal(first, np.array(other, np.float32))
    for endpoint in COUNTING:
        assert len(ask(service, endpoint, picture, {"min_face_size": 24}).faces or []) == count


def test_an_answer_has_every_member_of_the_contract(service: Facet) -> None:
    """With its zeros: a member is never left out because it has nothing to say."""
    picture = png(np.full((64, 48, 3), 128, np.uint8))
    body = post_json(service.http, picture, {}).body
    assert body is not None
    assert (body["message"], body["image_id"], body["metadata"], body["results"]) == ("", "", {}, [])
    assert body["image"] == {"width": 48, "height": 64, "exif_orientation": 1}
    assert body["model"]["engine"] == choose().engine
    assert set(body["timings"]) == {"queue_ms", "decode_ms", "detect_ms", "total_ms"}


@pytest.mark.security(
    endpoint="gateway",
    attack="Seven pictures that are refused, over HTTP and gRPC",
    outcome="No path and no traceback in any answer",
)
def test_no_error_shows_a_path_or_a_traceback(service: Facet) -> None:
    """Whatever was sent, over HTTP and gRPC."""
    with grpc.insecure_channel(service.grpc, ANY_SIZE) as channel:
        predict = infer_pb2_grpc.InferenceStub(channel).Predict
        for picture, _ in BAD.values():
            body = post_raw(service.http, picture, {}).body
            with pytest.raises(grpc.RpcError) as caught:
                predict(pb.Image(raw_data=picture), timeout=PATIENCE)
            for told in (body, (caught.value.details(), caught.value.trailing_metadata())):
                assert told
                assert "Traceback" not in str(told)
                assert ".py" not in str(told)
                assert "/tmp" not in str(told)  # noqa: S108 - looked for, not used


def test_a_trace_context_travels_from_the_caller_to_the_workers_log(service: Facet) -> None:
    """With the request's id, through both processes."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"Content-Type": "image/png", "X-Request-ID": "traced-1", "traceparent": trace}
    assert http_request(service.http, "POST", "/predict", ASTRONAUT.read_bytes(), headers)[0] == 200
    for process in (service.inference, service.gateway):
        assert process.wait_for("request", request_id="traced-1")["traceparent"] == trace
