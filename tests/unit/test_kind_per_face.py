"""The kinds `per_face` and `expression`: faces found, cut out as the options say, and looked at."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from PIL import Image

from inference_server.models.alignment import aligned, boxed
from inference_server.models.kinds.expression import ExpressionModel, ExpressionOptions, Response
from inference_server.models.kinds.per_face import PerFace
from inference_server.models.kinds.pictures import PictureInput
from inference_server.models.weights.expression import LABELS
from tests.parity.engines import detector, models
from tests.support import onnx_models, pictures
from utils.domain import Box, Landmarks, Point
from utils.errors import BrokenImage, InvalidModel, ModelLoadFailed

PHOTOS = Path(os.environ.get("PHOTOS_DIR", ""))
needs_photos = pytest.mark.skipif(
    not os.environ.get("PHOTOS_DIR"), reason="PHOTOS_DIR names no folder of photographs"
)

# Of ArcFace: eyes, nose, corners of the mouth.
TEMPLATE = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]])
PLAIN: dict[str, Any] = {"size": [16, 16], "mean": [0, 0, 0], "std": [1, 1, 1]}


@pytest.fixture(autouse=True)
def _models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector's models are those of the tests, its engine the one that is everywhere."""
    monkeypatch.setenv("FACET_CACHE_DIR", str(models()))
    monkeypatch.setenv("FACET_ENGINE", "onnx")


def loaded(folder: Path, **options: object) -> PerFace:
    """A model of this folder, by default on faces of 16 x 16."""
    model = PerFace()
    model.load(folder, PLAIN | options)
    return model


def answer(model: PerFace, image: bytes) -> dict[str, Any]:
    """What the model makes of a file."""
    (found,) = model.predict([PictureInput(image=image)])
    return found.model_dump()


def points(landmarks: Landmarks) -> np.ndarray:
    """As rows of x and y."""
    return np.array([(place.x, place.y) for place in five(landmarks)])


def five(landmarks: Landmarks) -> list[Point]:
    """The places, in order."""
    return [getattr(landmarks, name) for name in Landmarks.__slots__]


def flat(box: Box) -> list[float]:
    """As x1, y1, x2, y2."""
    return [box.up_left.x, box.up_left.y, box.lower_right.x, box.lower_right.y]


def test_every_face_is_answered_where_the_detector_finds_it(tmp_path: Path) -> None:
    """Boxes, landmarks and confidences are the detector's, in its order, and each has its labels."""
    folder = onnx_models.brightness(tmp_path, ("n", 3, 16, 16))
    (folder / "labels.txt").write_text("red\ngreen\nblue\n")
    photo = pictures.group_photo()
    faces = answer(loaded(folder), pictures.png(photo))["faces"]
    expected = detector("onnx").detect(photo)
    assert len(faces) == len(expected) > 3
    for found, face in zip(faces, expected, strict=True):
        assert list(found["box"].values()) == flat(face.box)
        assert [tuple(place.values()) for place in found["landmarks"].values()] == [
            (place.x, place.y) for place in five(face.landmarks)
        ]
        assert found["confidence"] == face.confidence
        assert {one["label"] for one in found["labels"]} == {"red", "green", "blue"}
        scores = [one["score"] for one in found["labels"]]
        assert scores == sorted(scores, reverse=True)
        assert found["labels"][0]["label"] == "red"  # which is what skin is most


def test_the_options_of_a_detection_are_the_models(tmp_path: Path) -> None:
    """Smallest face and most faces."""
    folder = onnx_models.seen(tmp_path, ("n", 3, 16, 16))
    photo = pictures.png(pictures.group_photo())
    one = answer(loaded(folder, answer="vector", max_faces=1), photo)["faces"]
    large = answer(loaded(folder, answer="vector", min_face_size=120), photo)["faces"]
    every = answer(loaded(folder, answer="vector"), photo)["faces"]
    assert one == every[:1]
    assert 0 < len(large) < len(every)


def test_a_network_of_ones_own_gives_a_vector_of_each_aligned_face(tmp_path: Path) -> None:
    """An embedding: 112 x 112, normalised as ArcFace's networks want it, projected, of length 1."""
    projection = np.random.default_rng(5).normal(size=(3 * 112 * 112, 32)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["face"], ["flat"]),
        helper.make_node("MatMul", ["flat", "projection"], ["projected"]),
        helper.make_node("LpNormalization", ["projected"], ["embedding"], axis=1, p=2),
    ]
    values = [onnx_models.tensor("face", ["n", 3, 112, 112])], [onnx_models.tensor("embedding", ["n", 32])]
    folder = onnx_models.save(tmp_path, nodes, *values, projection=projection)
    model = loaded(folder, size=[112, 112], mean=[0.5] * 3, std=[0.5] * 3, answer="vector")
    (found,) = answer(model, pictures.png(pictures.portrait()))["faces"]

    (face,) = detector("onnx").detect(pictures.portrait())
    cut = aligned(pictures.portrait(), face.landmarks, 112)
    pixels = (np.asarray(cut, np.float32).transpose(2, 0, 1) - 127.5) / 127.5
    expected = pixels.ravel() @ projection
    assert found["vector"] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-4)


def test_an_aligned_face_has_its_landmarks_where_the_template_has_them() -> None:
    """Whatever its size and however it is turned; found again in the result, they are near those places."""
    upright = Image.fromarray(pictures.portrait())
    for turned in (upright, upright.rotate(25, Image.Resampling.BICUBIC), upright.resize((300, 300))):
        (face,) = detector("onnx").detect(np.array(turned))
        for side in (112, 224):
            again = detector("onnx").detect(np.array(aligned(np.asarray(turned), face.landmarks, side)))[0]
            distance = np.linalg.norm(points(again.landmarks) - TEMPLATE * side / 112, axis=1)
            assert distance.max() < 0.08 * side


def test_alignment_is_exact_for_a_moved_scaled_and_turned_template() -> None:
    """A pixel that is marked at each landmark comes out at the template's place."""
    turn = 1.5 * np.exp(0.3j)
    places = turn * (TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]) + (60 + 20j)
    landmarks = Landmarks(*(Point(float(place.real), float(place.imag)) for place in places))
    rows, columns = np.mgrid[:300, :300]
    for place, expected in zip(places, TEMPLATE, strict=True):
        spot = np.exp(-((columns - place.real) ** 2 + (rows - place.imag) ** 2) / 18)
        picture = Image.fromarray((spot[..., None] * [255, 255, 255]).astype(np.uint8))
        grey = np.asarray(aligned(np.asarray(picture), landmarks, 112), np.float64)[..., 0]
        y, x = np.mgrid[:112, :112]
        centre = [(grey * x).sum() / grey.sum(), (grey * y).sum() / grey.sum()]
        assert centre == pytest.approx(expected, abs=0.1)


@needs_photos
def test_faces_of_photographs_are_aligned() -> None:
    """On the labelled landmarks of 40 photographs: the eyes come out level, at the template's distance."""
    lines = (PHOTOS / "lfw_5pt" / "gt.jsonl").read_text().splitlines()[:40]
    for line in map(json.loads, lines):
        photo = Image.open(PHOTOS / "lfw_5pt" / line["image"]).convert("RGB")
        landmarks = Landmarks(*(Point(*place) for place in line["landmarks"][0]))
        found = detector("onnx").detect(np.array(aligned(np.asarray(photo), landmarks, 112)))
        left, right = points(found[0].landmarks)[:2]
        assert abs(left - TEMPLATE[0]).max() < 12
        assert abs(right - TEMPLATE[1]).max() < 12


def test_a_box_is_cut_out_with_its_margin_and_ends_at_the_pictures_edges() -> None:
    """A share of its sides is added at each edge."""
    rows, columns = np.mgrid[:100, :200]
    picture = Image.fromarray(np.stack([columns, rows, rows], axis=2).astype(np.uint8))
    box = Box(Point(50, 40), Point(70, 60))
    plain = np.asarray(boxed(picture, box, 0, (20, 20)))
    assert (plain[0, 0, :2].tolist(), plain[-1, -1, :2].tolist()) == ([50, 40], [69, 59])
    wide = np.asarray(boxed(picture, box, 0.5, (40, 40)))
    assert (wide[0, 0, :2].tolist(), wide[-1, -1, :2].tolist()) == ([40, 30], [79, 69])
    corner = np.asarray(boxed(picture, Box(Point(190, 90), Point(199, 99)), 2, (28, 28)))
    assert corner[-1, -1, :2].tolist() == [199, 99]
    other = np.asarray(boxed(picture, Box(Point(0, 0), Point(10, 10)), 1, (20, 20)))
    assert (other[0, 0, :2].tolist(), other[-1, -1, :2].tolist()) == ([0, 0], [19, 19])
    for empty in (Box(Point(199, 99), Point(199, 99)), Box(Point(199, 99), Point(190, 90))):
        assert (np.asarray(boxed(picture, empty, 0, (4, 6))) == [199, 99, 99]).all()


def test_a_picture_without_faces_has_an_empty_answer(tmp_path: Path) -> None:
    """The network is not asked."""
    folder = onnx_models.seen(tmp_path, ("n", 3, 16, 16))
    grey = pictures.png(np.full((60, 60, 3), 128, np.uint8))
    assert answer(loaded(folder, answer="vector"), grey) == {"faces": []}


def test_a_broken_picture_is_a_typed_error(tmp_path: Path) -> None:
    """It names the member at fault."""
    model = loaded(onnx_models.seen(tmp_path, ("n", 3, 16, 16)), answer="vector")
    with pytest.raises(BrokenImage) as caught:
        answer(model, pictures.png(pictures.portrait())[:5000])
    assert caught.value.field == "image"


@pytest.mark.parametrize(
    ("options", "field", "reason"),
    [
        ({"size": [16, 12]}, "size", "accepted for aligned faces: a square"),
        ({"crop": "round"}, "crop", "'aligned' or 'box'"),
        ({"margin": -0.1}, "margin", "greater than or equal to 0"),
        ({"min_face_size": 5}, "min_face_size", "^min_face_size is 5.0; accepted: a number from 10 to 2000"),
        ({"threshold_output": 1.5}, "threshold_output", "a number from 0 to 1"),
        ({"max_faces": 0}, "max_faces", "a whole number from 1 to 1000"),
        ({"answer": "labels"}, "labels", "no such file"),
    ],
)
def test_options_that_cannot_be_are_refused_by_their_key(
    tmp_path: Path, options: dict[str, object], field: str, reason: str
) -> None:
    """Also aligned faces that are no squares, and labels that are not there."""
    folder = onnx_models.seen(tmp_path, ("n", 3, 16, 16))
    with pytest.raises(InvalidModel, match=reason) as caught:
        loaded(folder, **{"answer": "vector"} | options)
    assert caught.value.field == field


def test_without_a_detector_the_model_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is told no path."""
    monkeypatch.setenv("FACET_CACHE_DIR", str(tmp_path / "empty"))
    folder = onnx_models.seen(tmp_path, ("n", 3, 16, 16))
    with pytest.raises(ModelLoadFailed, match="no face detector for this model") as caught:
        loaded(folder, answer="vector")
    assert str(tmp_path) not in caught.value.detail


def expressions(folder: Path, labels: str = "\n".join(LABELS)) -> ExpressionModel:
    """A network of grey faces whose first class wins, with these labels."""
    onnx_models.brightness(folder, ("n", 1, 64, 64), values=7)
    (folder / "labels.txt").write_text(labels)
    model = ExpressionModel()
    model.load(folder, {"mean": [0], "std": [1]})
    return model


def test_expressions_are_answered_as_the_pipeline_contract_has_them(tmp_path: Path) -> None:
    """Members in its order, so that their numbers are its own; more about the face follows."""
    (found,) = expressions(tmp_path).predict([PictureInput(image=pictures.png(pictures.portrait()))])
    assert isinstance(found, Response)
    (result,) = found.model_dump()["response"]
    assert list(result)[:2] == ["bbox", "expression"]
    assert list(result["bbox"]) == ["x1", "y1", "x2", "y2"]
    assert list(result["expression"]) == [
        *("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
    ]
    (face,) = detector("onnx").detect(pictures.portrait())
    assert list(result["bbox"].values()) == flat(face.box)
    assert result["expression"]["anger"] > 0.2  # the brightness, which is the first label's
    assert Response() == Response(response=[])


@pytest.mark.parametrize(
    "labels", ["\n".join(LABELS[:-1]) + "\ncontempt", "\n".join(LABELS[:-1] + LABELS[:1])]
)
def test_an_expression_network_has_exactly_the_seven_labels(tmp_path: Path, labels: str) -> None:
    """The reason names them."""
    with pytest.raises(InvalidModel, match="accepted, in any order: neutral, anger") as caught:
        expressions(tmp_path, labels)
    assert caught.value.field == "labels"


def test_an_expression_model_needs_no_options_but_its_file() -> None:
    """Those of the network that can be fetched are the defaults."""
    chosen = ExpressionOptions()
    assert (chosen.size, chosen.crop, chosen.margin, chosen.mean, chosen.std) == (
        (64, 64),
        "box",
        0,
        (0.5,),
        (0.5,),
    )


def test_pictures_of_one_call_are_answered_in_order(tmp_path: Path) -> None:
    """With and without faces."""
    model = loaded(onnx_models.seen(tmp_path, ("n", 3, 16, 16)), answer="vector")
    grey = PictureInput(image=pictures.png(np.full((60, 60, 3), 128, np.uint8)))
    face = PictureInput(image=pictures.png(pictures.portrait()))
    counts = [len(found.model_dump()["faces"]) for found in model.predict([face, grey, face])]
    assert counts == [1, 0, 1]
