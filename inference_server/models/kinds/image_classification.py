"""The kind `image_classification`: encoded pictures to classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field

from facet_serving import Model
from inference_server.models.kinds.loading import FileName, read_labels, read_options
from inference_server.models.kinds.pictures import (
    Floats,
    NetworkOptions,
    PictureInput,
    PictureNetwork,
    PictureReader,
    resized,
)
from utils.errors import InvalidModel

_MAX_BATCH = 8
"""Convolutions of a larger batch take no less time an item, and all wait for the last."""


class ClassificationOptions(NetworkOptions):
    """The keys of model.toml.

    Attributes:
        answer: `class` for the best class alone, `labels` for the best few with their names.
        first_class: The number of the network's first class.
        labels: The file of their names, one a line.
        top: How many classes are answered with `labels`.
    """

    answer: Literal["class", "labels"] = "class"
    first_class: Annotated[int, Field(ge=0, le=10**6)] = 0
    labels: FileName = "labels.txt"
    top: Annotated[int, Field(ge=1, le=1000)] = 5


class ClassOutput(BaseModel):
    """The best class."""

    class_id: int = Field(description="Its number.")
    score: float = Field(description="What the network gives it.")


class Label(BaseModel):
    """One class."""

    label: str
    class_id: int
    score: float


class LabelsOutput(ClassOutput):
    """The best class, and the best few with their names."""

    classes: list[Label] = Field(description="Best first.")


class ImageClassification(Model):
    """Tells what is in a picture, which is resized without being cropped."""

    Input = PictureInput

    def load(self, folder: Path | None, options: Mapping[str, Any]) -> None:
        """Load network and labels.

        Raises:
            InvalidModel: The options, the graph or the labels, or two of them do not fit.
        """
        self._options = read_options(ClassificationOptions, options)
        self._network = PictureNetwork(folder, self._options)
        self._reader = PictureReader()
        self._labels = read_labels(folder, self._options.labels) if self._options.answer == "labels" else None
        self.Output = LabelsOutput if self._labels else ClassOutput
        self.max_batch = min(self._network.max_batch, _MAX_BATCH)
        check_labels(self._labels, self._network.classes)

    def predict(self, inputs: Sequence[PictureInput]) -> list[ClassOutput]:
        """Classify pictures, in as few runs as the network allows, after all were decoded.

        Raises:
            FacetError: Of any of them; see `PictureReader.read`.
        """
        size = self._network.size
        pictures = [self._network.normalised(resized(self._reader.read(item), size)) for item in inputs]
        return [self._answer(scores) for scores in self._network.run(pictures)]

    def _answer(self, scores: Floats) -> ClassOutput:
        first = self._options.first_class
        best = int(scores.argmax())
        if self._labels is None:
            return ClassOutput(class_id=best + first, score=float(scores[best]))
        order = np.argsort(-scores, kind="stable")[: self._options.top].tolist()
        classes = [
            Label(label=self._labels[number], class_id=number + first, score=float(scores[number]))
            for number in order
        ]
        return LabelsOutput(class_id=best + first, score=float(scores[best]), classes=classes)


def check_labels(labels: Sequence[str] | None, classes: int | None) -> None:
    """Refuse labels that are not as many as the classes of a network that says how many it has.

    Raises:
        InvalidModel: They are more or fewer.
    """
    if labels is not None and classes is not None and len(labels) != classes:
        raise InvalidModel(f"there are {len(labels)} labels for {classes} classes", field="labels")
