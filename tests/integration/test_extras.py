"""Rules of what is wanted beside the faces, against a real backend, through every endpoint."""

import asyncio
import base64
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from protos import infer_pb2 as pb
from protos import infer_pb2_grpc
from tests.support.endpoints import http_request
from tests.support.facet import Facet, facet
from tests.support.fake_backend import fake_backend
from tests.support.pictures import ASTRONAUT, group_photo, png
from tests.support.processes import PATIENCE
from utils import codec
from utils.async_service_client import AsyncServiceClient
from utils.channel import error_of
from utils.domain import Detection, DetectOptions, DetectRequest
from utils.errors import ExtrasNotAnswered, OptionOutOfRange
from utils.extras import Annotated, Crops, Picture, Wanted
from utils.service_client import ServiceClient

GROUP = png(group_photo())
EVERYTHING = Wanted(True, Crops(96, "box", 0.25, 3), Annotated(320, landmarks=True, scores=True))
REQUEST = DetectRequest(GROUP, DetectOptions(min_face_size=40), wanted=EVERYTHING)
QUERY = (
    "min_face_size=40&include=quality,crops,annotated&crop_size=96&crop_shape=box&crop_margin=0.25&crop_max=3"
    "&annotated_longest_side=320&annotated_landmarks=true&annotated_scores=true"
)


@pytest.fixture(scope="module")
def served() -> Iterator[Facet]:
    """A backend and a gateway that the tests of this module share."""
    with facet() as running:
        yield running


@pytest.fixture
def client(served: Facet) -> Iterator[ServiceClient]:
    """A client of the backend."""
    with ServiceClient(served.grpc, timeout=PATIENCE) as made:
        yield made


def timeless(detection: Detection) -> Detection:
    """All of a detection but what differs each time."""
    return replace(
        detection,
        timings=replace(detection.timings, queue_ms=0, decode_ms=0, detect_ms=0, total_ms=0, extras_ms=0),
    )


def pixels(picture: Picture) -> Any:  # noqa: ANN401 - an array
    """Those of a file, which must be of its type and size."""
    with Image.open(io.BytesIO(picture.data)) as image:
        assert (Image.MIME[image.format or ""], *image.size) == (
            picture.media_type,
            picture.width,
            picture.height,
        )
        return np.asarray(image)


def post(served: Facet, path: str, body: bytes, kind: str) -> tuple[int, Mapping[str, str], bytes]:
    """Post with all the time there is."""
    return http_request(served.http, "POST", path, body, {"Content-Type": kind, "X-Request-Timeout": "60"})


def test_what_is_wanted_is_computed_and_the_faces_stay_what_they_are(client: ServiceClient) -> None:
    """With a time of its own; crops for the most confident faces, and the others counted."""
    alone = client.detect(replace(REQUEST, wanted=Wanted()))
    detection = client.detect(REQUEST)
    assert detection.timings.extras_ms > 0 == alone.timings.extras_ms
    assert [replace(face, quality=None, crop=None) for face in detection.faces] == [*alone.faces]
    omitted = len(alone.faces) - 3
    assert omitted > 0
    assert (alone.annotated, alone.crops_omitted, detection.crops_omitted) == (None, None, omitted)
    assert [face.crop is not None for face in detection.faces] == [True] * 3 + [False] * omitted
    for face in detection.faces:
        assert face.quality is not None
        assert face.quality.sharpness > 0
        assert face.quality.eye_distance > 10
        if face.crop is not None:
            assert pixels(face.crop).shape == (96, 96, 3)
    assert detection.annotated is not None
    assert pixels(detection.annotated).shape == (240, 320, 3)


def test_every_endpoint_gives_the_same(served: Facet, client: ServiceClient) -> None:
    """To the byte of each picture: single calls and streams of both clients, and HTTP in each form."""
    expected = timeless(client.detect(REQUEST))

    async def awaited() -> list[Any]:
        async with AsyncServiceClient(served.grpc, timeout=PATIENCE) as other:
            return [await other.detect(REQUEST), *[found async for _, found in other.detect_many([REQUEST])]]

    found = [*asyncio.run(awaited()), *(outcome for _, outcome in client.detect_many([REQUEST]))]
    assert [timeless(one) for one in found] == [expected] * 3

    options = {name: [value] for name, _, value in (one.partition("=") for one in QUERY.split("&"))}
    typed = {name: _typed(name, value) for name, (value,) in options.items()}
    document = json.dumps({"image": base64.b64encode(GROUP).decode(), "options": typed}).encode()
    parts = [
        f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, (value,) in options.items()
    ]
    parts.append(b'--B\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + GROUP + b"\r\n--B--\r\n")
    for path, body, kind in (
        (f"/predict?{QUERY}", GROUP, "image/png"),
        ("/predict", document, "application/json"),
        ("/predict", b"".join(parts), "multipart/form-data; boundary=B"),
    ):
        status, _, answer = post(served, path, body, kind)
        assert status == 200
        _compare(json.loads(answer), expected)


def _typed(name: str, value: str) -> object:
    """A value of the query as JSON has it."""
    if name == "include":
        return value.split(",")
    return value if value == "box" else json.loads(value)


def _compare(answer: Mapping[str, Any], expected: Detection) -> None:
    """An answer over HTTP has the pictures and numbers of this detection."""
    assert expected.annotated is not None
    assert base64.b64decode(answer["annotated"]["data"]) == expected.annotated.data
    assert answer["crops_omitted"] == expected.crops_omitted
    assert answer["timings"]["extras_ms"] > 0
    for told, face in zip(answer["results"], expected.faces, strict=True):
        assert face.quality is not None
        assert told["quality"]["sharpness"] == pytest.approx(face.quality.sharpness)
        assert told["quality"]["rollDegrees"] == pytest.approx(face.quality.roll_degrees)
        crop = base64.b64decode(told["crop"]["data"]) if "crop" in told else None
        assert crop == (face.crop.data if face.crop is not None else None)


def test_the_annotated_picture_has_a_path_of_its_own(served: Facet, client: ServiceClient) -> None:
    """The same file, and the number of faces; what is wrong with the picture is a problem document."""
    wanted = Wanted(annotated=Annotated(landmarks=True))
    expected = client.detect(replace(REQUEST, wanted=wanted))
    path = "/predict/annotated?min_face_size=40&annotated_landmarks=true"
    status, headers, body = post(served, path, GROUP, "image/png")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert headers["x-facet-faces"] == str(len(expected.faces))
    assert expected.annotated is not None
    assert body == expected.annotated.data
    status, headers, body = post(served, path, b"no picture", "image/png")
    assert (status, headers["content-type"]) == (415, "application/problem+json")


def test_a_picture_without_faces_has_nothing_but_the_annotated_picture(client: ServiceClient) -> None:
    """And no crop is omitted."""
    nobody = replace(REQUEST, options=DetectOptions(min_face_size=500))
    detection = client.detect(nobody)
    assert (detection.faces, detection.crops_omitted) == ((), 0)
    assert detection.annotated is not None


@pytest.mark.parametrize(
    ("wanted", "field", "quoted"),
    [
        (
            pb.Wanted(crops=pb.Crops(size=10_000)),
            "crops.size",
            "is 10000; accepted: a whole number from 32 to 512",
        ),
        (pb.Wanted(crops=pb.Crops(max=101)), "crops.max", "is 101;"),
        (pb.Wanted(crops=pb.Crops(shape=7)), "crops.shape", "is 7; accepted: 0 (ALIGNED) or 1 (BOX)"),  # type: ignore[arg-type]
        (pb.Wanted(crops=pb.Crops(margin=0.1)), "crops.margin", "is 0.1; accepted for the shape aligned: 0"),
        (pb.Wanted(crops=pb.Crops(shape="BOX", margin=float("nan"))), "crops.margin", "is nan;"),
        (pb.Wanted(annotated=pb.Annotated(longest_side=5000)), "annotated.longest_side", "is 5000;"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(
    served: Facet, wanted: pb.Wanted, field: str, quoted: str
) -> None:
    """In a single call, and in a stream, where it fails alone."""
    bad, good = pb.Image(raw_data=GROUP, wanted=wanted), codec.encode_request(REQUEST)
    with grpc.insecure_channel(served.grpc) as channel:
        stub = infer_pb2_grpc.InferenceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(bad, timeout=PATIENCE)
        error = error_of(caught.value)
        requests = [pb.PredictStreamRequest(number=n, image=image) for n, image in enumerate((bad, good))]
        replies = {reply.number: reply for reply in stub.PredictStream(iter(requests), timeout=PATIENCE)}
    assert isinstance(error, OptionOutOfRange)
    assert error.field == f"wanted.{field}"
    assert f"wanted.{field} {quoted}" in error.detail
    assert replies[0].problem.field == error.field
    assert replies[1].results.HasField("annotated")


def test_numbers_that_are_not_set_have_their_defaults(served: Facet) -> None:
    """Whoever asks by messages of their own need not know them."""
    wanted = pb.Wanted(crops=pb.Crops(), annotated=pb.Annotated())
    with grpc.insecure_channel(served.grpc) as channel:
        stub = infer_pb2_grpc.InferenceStub(channel)
        results = stub.Predict(pb.Image(raw_data=ASTRONAUT.read_bytes(), wanted=wanted), timeout=PATIENCE)
    [face] = results.results
    assert (face.crop.width, face.crop.height, face.HasField("quality")) == (112, 112, False)
    assert (results.annotated.width, results.annotated.height) == (512, 512)
    assert (results.HasField("crops_omitted"), results.crops_omitted) == (True, 0)


@pytest.mark.parametrize(
    ("wanted", "lacking"),
    [
        (Wanted(quality=True), "quality"),
        (Wanted(crops=Crops()), "crops"),
        (Wanted(annotated=Annotated()), "annotated"),
        (EVERYTHING, "quality, crops, annotated"),
    ],
)
def test_an_answer_that_passes_over_what_was_wanted_is_an_error(wanted: Wanted, lacking: str) -> None:
    """As an earlier release's is: in single calls and streams, of either client."""
    request = DetectRequest(b"picture", wanted=wanted)

    def earlier(_message: pb.Image, _context: Any) -> pb.InferResults:  # noqa: ANN401
        return pb.InferResults(results=[pb.Result(confidence=1)])

    async def awaited(target: str) -> list[Any]:
        async with AsyncServiceClient(target) as client:
            with pytest.raises(ExtrasNotAnswered) as caught:
                await client.detect(request)
            return [caught.value, *[found async for _, found in client.detect_many([request])]]

    with fake_backend(earlier) as backend, ServiceClient(backend.target) as client:
        with pytest.raises(ExtrasNotAnswered) as caught:
            client.detect(request)
        errors = [caught.value, *(found for _, found in client.detect_many([request]))]
        errors += asyncio.run(awaited(backend.target))
    assert [type(error) for error in errors] == [ExtrasNotAnswered] * 4
    assert {error.field for error in errors if isinstance(error, ExtrasNotAnswered)} == {"wanted"}
    assert all(f"asked for: {lacking}." in str(error) for error in errors)
