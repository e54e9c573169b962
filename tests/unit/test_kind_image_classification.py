"""The kind `image_classification`: pictures of every format to classes, under the server's limits."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from PIL import Image

from inference_server.models.kinds.image_classification import ImageClassification
from inference_server.models.kinds.pictures import Floats, PictureInput
from tests.support import onnx_models, pictures
from utils.errors import (
    BrokenImage,
    FacetError,
    ImageEmpty,
    ImageTooLarge,
    InvalidModel,
    TooManyPixels,
    UnsupportedImageFormat,
)

PHOTOS = Path(os.environ.get("PHOTOS_DIR", ""))
needs_photos = pytest.mark.skipif(
    not os.environ.get("PHOTOS_DIR"), reason="PHOTOS_DIR names no folder of photographs"
)

PLAIN: dict[str, Any] = {"size": [8, 8], "mean": [0, 0, 0], "std": [1, 1, 1]}
RED, GREEN, BLUE = (
    np.full((20, 30, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 200, 0), (0, 0, 200))
)


def loaded(folder: Path, **options: object) -> ImageClassification:
    """A model of this folder, by default on pictures of 8 x 8."""
    model = ImageClassification()
    model.load(folder, {key: value for key, value in (PLAIN | options).items() if value is not None})
    return model


def answers(model: ImageClassification, *images: bytes) -> list[dict[str, Any]]:
    """What the model makes of these files."""
    return [answer.model_dump() for answer in model.predict([PictureInput(image=image) for image in images])]


def shown(model: ImageClassification, image: bytes, monkeypatch: pytest.MonkeyPatch) -> Floats:
    """The numbers that the network is given for a picture."""
    given: list[Floats] = []
    run = model._network._run

    def noted(batch: Floats) -> Floats:
        given.append(batch)
        result: Floats = run(batch)
        return result

    monkeypatch.setattr(model._network, "_run", noted)
    answers(model, image)
    picture: Floats = given[0][0]
    return picture


@pytest.mark.parametrize("dimensions", [("n", 3, 8, 8), ("n", 8, 8, 3), (1, 3, 8, 8), (None, 3, None, None)])
def test_the_best_class_is_answered_whatever_the_graphs_layout(
    tmp_path: Path, dimensions: onnx_models.Dimensions
) -> None:
    """Channels may come first or last, and the batch be variable or 1."""
    model = loaded(onnx_models.brightness(tmp_path, dimensions))
    found = answers(model, *map(pictures.png, (BLUE, RED, GREEN)))
    assert [answer["class_id"] for answer in found] == [2, 0, 1]
    assert found[0]["score"] == pytest.approx(200 / 255)


def test_classes_are_counted_from_the_first(tmp_path: Path) -> None:
    """Some networks call their first class 1."""
    model = loaded(onnx_models.brightness(tmp_path), first_class=1)
    assert [answer["class_id"] for answer in answers(model, pictures.png(RED), pictures.png(BLUE))] == [1, 3]


def test_labels_name_the_best_few_classes_best_first(tmp_path: Path) -> None:
    """Beside them stands the best class, as without labels."""
    folder = onnx_models.brightness(tmp_path)
    (folder / "names.txt").write_text("rosso\nverde\nblù\n", encoding="utf-8")
    model = loaded(folder, answer="labels", labels="names.txt", top=2, first_class=10)
    picture = np.full((5, 5, 3), (51, 102, 204), np.uint8)
    (answer,) = answers(model, pictures.png(picture))
    assert [(one["label"], one["class_id"]) for one in answer["classes"]] == [("blù", 12), ("verde", 11)]
    assert [one["score"] for one in answer["classes"]] == pytest.approx([0.8, 0.4])
    assert (answer["class_id"], answer["score"]) == (12, answer["classes"][0]["score"])


def test_softmax_turns_scores_into_shares(tmp_path: Path) -> None:
    """For networks that end without one."""
    folder = onnx_models.brightness(tmp_path)
    (folder / "labels.txt").write_text("r\ng\nb\n")
    (answer,) = answers(loaded(folder, answer="labels", softmax=True), pictures.png(RED))
    scores = [one["score"] for one in answer["classes"]]
    expected = np.exp([200 / 255, 0, 0])
    assert scores == pytest.approx(expected / expected.sum())


def test_a_batch_is_one_run_where_the_graphs_batch_varies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is 1, each picture is a run of its own, with the same answers."""
    files = list(map(pictures.png, (RED, GREEN, BLUE)))
    sizes: list[int] = []
    found = []
    dimensions: list[onnx_models.Dimensions] = [("n", 3, 8, 8), (1, 3, 8, 8)]
    for number, taken in enumerate(dimensions):
        model = loaded(onnx_models.brightness(tmp_path / str(number), taken))
        run = model._network._run

        def counted(pixels: Floats, run: Any = run) -> Floats:  # noqa: ANN401 - a method
            sizes.append(len(pixels))
            result: Floats = run(pixels)
            return result

        monkeypatch.setattr(model._network, "_run", counted)
        found.append(answers(model, *files))
    assert sizes == [3, 1, 1, 1]
    assert found[0] == found[1]
    assert answers(model) == []


def test_pictures_are_resized_whole_and_normalised_as_torchvision_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bilinear, without a crop, then shares of 255 less the mean, over the deviation, in float32."""
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    model = loaded(onnx_models.seen(tmp_path, ("n", 3, 16, 24)), size=[16, 24], mean=mean, std=std)
    pixels = pictures.portrait()[:300]
    small = np.asarray(Image.fromarray(pixels).resize((24, 16), Image.Resampling.BILINEAR))
    expected = (small.astype(np.float32) / 255 - np.array(mean, np.float32)) / np.array(std, np.float32)
    assert np.array_equal(shown(model, pictures.png(pixels), monkeypatch), expected)


def test_one_mean_makes_a_picture_grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network then has one channel."""
    model = loaded(onnx_models.seen(tmp_path, ("n", 1, 8, 8)), mean=[0.5], std=[0.5])
    given = shown(model, pictures.png(np.full((8, 8, 3), 255, np.uint8)), monkeypatch)
    assert given.shape == (8, 8, 1)
    assert (given == 1).all()


def test_the_exif_orientation_is_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies on its side in the file stands upright before the network."""
    upright = Image.fromarray(pictures.portrait()).resize((64, 48))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", exif=exif, quality=100, subsampling=0)
    model = loaded(onnx_models.seen(tmp_path, ("n", 3, 48, 64)), size=[48, 64])
    difference = shown(model, file.getvalue(), monkeypatch) - np.asarray(upright, np.float32) / 255
    assert np.abs(difference).max() < 0.1


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_every_format_of_face_detection_is_accepted(tmp_path: Path, form: str) -> None:
    """The same picture in each gives about the same scores."""
    model = loaded(onnx_models.brightness(tmp_path))
    (answer,) = answers(model, pictures.encoded(RED, form))
    assert answer["class_id"] == 0
    assert answer["score"] == pytest.approx(200 / 255, abs=0.03)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (b"", ImageEmpty),
        (b"no picture at all", UnsupportedImageFormat),
        (pictures.png(RED)[:-30], BrokenImage),
        (pictures.png(np.zeros((40, 40, 3), np.uint8)), TooManyPixels),
        (b"\xff\xd8\xff" + bytes(2000), ImageTooLarge),
    ],
)
def test_a_bad_picture_is_the_typed_error_of_face_detection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: bytes, error: type[FacetError]
) -> None:
    """Under the same limits; it names the member at fault."""
    monkeypatch.setenv("FACET_MAX_IMAGE_BYTES", "1024")
    monkeypatch.setenv("FACET_MAX_IMAGE_PIXELS", "1024")
    model = loaded(onnx_models.brightness(tmp_path))
    with pytest.raises(error) as caught:
        answers(model, pictures.png(RED), image)
    assert caught.value.field == "image"
    assert len(answers(model, pictures.png(RED))) == 1


@pytest.mark.parametrize(
    ("options", "field", "reason"),
    [
        ({"size": None}, "size", "Field required"),
        ({"mean": None}, "mean", "Field required"),
        ({"size": [0, 8]}, "size.0", "greater than or equal to 1"),
        ({"size": [8]}, "size.1", "Field required"),
        ({"std": [1, 0, 1]}, "std.1", "greater than 0"),
        ({"mean": [0, 0]}, "mean", "mean has 2 numbers and std 3; accepted: three of each"),
        ({"std": [1]}, "mean", "mean has 3 numbers and std 1"),
        (
            {"mean": [0], "std": [1]},
            "size",
            r"takes \['batch', 3, 8, 8\]; .* must be \[N, 1, 8, 8\] or \[N, 8, 8, 1\]",
        ),
        ({"size": [8, 9]}, "size", r"must be \[N, 3, 8, 9\] or \[N, 8, 9, 3\]"),
        ({"answer": "both"}, "answer", "'class' or 'labels'"),
        ({"answer": "labels"}, "labels", "no such file"),
        ({"answer": "labels", "labels": "two.txt"}, "labels", "2 labels for 3 classes"),
        ({"answer": "labels", "labels": "gap.txt"}, "labels", "empty line"),
        ({"answer": "labels", "labels": "model.onnx"}, "labels", "no text in UTF-8"),
        ({"topp": 1}, "topp", "no key of this kind"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_their_key(
    tmp_path: Path, options: dict[str, object], field: str, reason: str
) -> None:
    """Each other, the graph, or the labels."""
    folder = onnx_models.brightness(tmp_path)
    (folder / "two.txt").write_text("a\nb\n")
    (folder / "gap.txt").write_text("a\n\nc\n")
    with pytest.raises(InvalidModel, match=reason) as caught:
        loaded(folder, **options)
    assert caught.value.field == field


def test_a_graph_of_two_inputs_is_no_network_of_pictures(tmp_path: Path) -> None:
    """The reason says what it takes."""
    node = helper.make_node("Add", ["image", "other"], ["output"])
    values = [onnx_models.tensor(name, ["n", 3, 8, 8]) for name in ("image", "other", "output")]
    with pytest.raises(InvalidModel, match="takes 2 inputs"):
        loaded(onnx_models.save(tmp_path, [node], values[:2], values[2:]))


def test_a_batch_of_exactly_two_is_refused(tmp_path: Path) -> None:
    """Pictures come in any number."""
    with pytest.raises(InvalidModel, match="N variable or 1"):
        loaded(onnx_models.brightness(tmp_path, (2, 3, 8, 8)))


@needs_photos
def test_a_network_of_imagenet_recognises_photographs(tmp_path: Path) -> None:
    """ShuffleNet's classes of a castle and of mountains are those of ImageNet."""
    network = PHOTOS / "models" / "imagenet" / "shufflenet-v2-12-int8.onnx"
    (tmp_path / "model.onnx").write_bytes(network.read_bytes())
    names = (PHOTOS / "models" / "imagenet" / "imagenet_labels.txt").read_text().splitlines()
    (tmp_path / "labels.txt").write_text("\n".join(names[1:]))
    model = loaded(
        tmp_path,
        size=[224, 224],
        mean=[0.485, 0.456, 0.406],
        std=[0.229, 0.224, 0.225],
        answer="labels",
        softmax=True,
    )
    folder = PHOTOS / "negatives" / "images"
    castle = (folder / "castle_sun_amkfuuasltrikdfa.jpg").read_bytes()
    mountain = (folder / "mountain_sun_bdgkjthkoxhovklv.jpg").read_bytes()
    found = answers(model, castle, mountain)
    assert [answer["class_id"] for answer in found] == [483, 970]
    assert [answer["classes"][0]["label"] for answer in found] == ["castle", "alp"]
