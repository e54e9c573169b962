"""Put torchvision's ResNet-34, which knows the 1000 classes of ImageNet, into the store of models.

    python examples/export_resnet34.py STORE [--weights FILE]

It needs torch, torchvision and onnxscript, which Facet does not; builds without CUDA are enough:

    pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu
    pip install onnxscript

The weights, IMAGENET1K_V1, are downloaded by torchvision, or are those of FILE, a state dict by torch.save.
The model takes a batch of any size in one forward pass. Its preprocessing is that of the published example of
a ResNet-34 server: 224 x 224 without a crop.
"""

import argparse
from pathlib import Path

import torch
from torchvision.models import ResNet34_Weights, resnet34

MODEL_TOML = """\
kind = "image_classification"
file = "model.onnx"
size = [224, 224]
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
softmax = true
answer = "labels"
labels = "labels.txt"
max_batch = 8
"""


def load(weights: Path | None) -> torch.nn.Module:
    """The network for inference, with the weights of a file, or with torchvision's own."""
    if weights is None:
        return resnet34(weights=ResNet34_Weights.IMAGENET1K_V1).eval()
    network = resnet34()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


def export(network: torch.nn.Module, folder: Path) -> None:
    """Write model.onnx, with its weights beside it, labels.txt and model.toml."""
    folder.mkdir(parents=True)
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, 224, 224),),  # a batch of 1 would be taken for a fixed one
        str(folder / "model.onnx"),
        input_names=["image"],
        output_names=["scores"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        external_data=True,  # which ONNX Runtime maps into memory, instead of reading it
    )
    labels = "".join(f"{label}\n" for label in ResNet34_Weights.IMAGENET1K_V1.meta["categories"])
    (folder / "labels.txt").write_text(labels, encoding="utf-8")
    (folder / "model.toml").write_text(MODEL_TOML, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Put torchvision's ResNet-34 into the store of models.")
    parser.add_argument("store", type=Path)
    parser.add_argument("--weights", type=Path, help="a state dict by torch.save, instead of a download")
    arguments = parser.parse_args()
    export(load(arguments.weights), arguments.store / "resnet34" / "1.0")
