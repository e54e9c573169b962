"""Measure how often the models that can be fetched are right on a few photographs.

    PHOTOS_DIR=... python -m scripts.measure_weights STORE

prints the tables in `docs/models.md`, of the models in the store that `facet models fetch` has filled.
"""

import json
import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inference_server.models.kinds.expression import ExpressionModel, Response
from inference_server.models.kinds.image_classification import ClassificationOptions
from inference_server.models.kinds.loading import read_options
from inference_server.models.kinds.pictures import PictureInput, PictureNetwork, PictureReader, resized
from inference_server.models.weights.fetching import RECIPES

_EXPRESSIONS = {"disgusted": "disgust", "fearful": "fear", "happy": "happiness"}

_SCENES = {
    "basilica": (497, "church"),
    "beach": (978, "seashore"),
    "campsite": (672, "mountain tent"),
    "castle": (483, "castle"),
    "harbor": (536, "dock"),
    "lake_natural": (975, "lakeside"),
    "mountain": (970, "alp"),
    "phone_booth": (707, "pay-phone"),
    "sea_cliff": (972, "cliff"),
}
"""The scenes in `negatives` that ImageNet has a class for: its number and name."""


def _version(store: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """The folder of a model, and its options."""
    folder = store / name / RECIPES[name].version
    options = tomllib.loads((folder / "model.toml").read_text())
    del options["kind"]
    return folder, options


def _expressions(store: Path, photos: Path) -> Iterator[tuple[str, str, str]]:
    """Each still, what its most confident face shows, and what the model says."""
    model = ExpressionModel()
    model.load(*_version(store, "expression"))
    for line in (photos / "emotion_labels.jsonl").read_text().splitlines():
        still = json.loads(line)
        (answer,) = model.predict([PictureInput(image=(photos / still["image"]).read_bytes())])
        assert isinstance(answer, Response)
        shares = answer.response[0].expression.model_dump()
        yield Path(still["image"]).name, _EXPRESSIONS[still["emotion"]], max(shares, key=shares.__getitem__)


def _ranks(store: Path, photos: Path) -> Iterator[tuple[str, str, int]]:
    """Each photograph, its class, and that class's rank among the model's 1000."""
    folder, options = _version(store, "classifier")
    network = PictureNetwork(folder, read_options(ClassificationOptions, options))
    reader = PictureReader()
    for scene, (number, label) in _SCENES.items():
        (path,) = (photos / "images").glob(f"{scene}_sun_*")
        pixels = reader.read(PictureInput(image=path.read_bytes()))
        scores = network.run([network.normalised(resized(pixels, network.size))])[0]
        yield path.name, label, int((scores > scores[number]).sum()) + 1


def main() -> None:
    """Print the tables."""
    store, photos = Path(sys.argv[1]), Path(os.environ["PHOTOS_DIR"])
    print("| still | shows | `expression` says |\n|---|---|---|")
    for still, shows, said in _expressions(store, photos / "demo_photos"):
        print(f"| {still} | {shows} | {said} |")
    print("\n| photograph | class of ImageNet | its rank by `classifier` |\n|---|---|---|")
    for photograph, label, rank in _ranks(store, photos / "negatives"):
        print(f"| {photograph} | {label} | {rank} |")


if __name__ == "__main__":
    main()
