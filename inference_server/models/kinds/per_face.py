"""The kind `per_face`: a network that looks at each face that the detector finds in a picture."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import BaseModel, Field

from facet_serving import Model
from inference_server.detector.choice import EngineUnavailable, choose
from inference_server.detector.factory import SelfTestFailed, create_detector, self_test
from inference_server.detector.pipeline import Detector
from inference_server.detector.weights import WeightsError
from inference_server.models.alignment import aligned, boxed
from inference_server.models.kinds.image_classification import check_labels
from inference_server.models.kinds.loading import FileName, read_labels, read_options
from inference_server.models.kinds.pictures import (
    Floats,
    NetworkOptions,
    PictureInput,
    PictureNetwork,
    PictureReader,
    Pixels,
)
from utils.domain import OPTION_NAMES, DetectOptions, Face
from utils.errors import InvalidModel, ModelLoadFailed, OptionOutOfRange
from utils.settings import Settings


class PerFaceOptions(NetworkOptions):
    """The keys of model.toml.

    Attributes:
        crop: `aligned` turns and scales each face so that its landmarks lie where ArcFace's template has
            them; `box` cuts out its box.
        margin: With `box`, the share of the box's sides that is added at each edge.
        answer: `labels` for the score of each class by its name, `vector` for the network's numbers.
        labels: The file of the classes' names, one a line.
        min_face_size, threshold_proposal, threshold_refine, threshold_output, max_faces: As the options of a
            detection.
    """

    crop: Literal["aligned", "box"] = "aligned"
    margin: Annotated[float, Field(ge=0, le=2)] = 0.0
    answer: Literal["labels", "vector"] = "labels"
    labels: FileName = "labels.txt"
    min_face_size: float | None = None
    threshold_proposal: float | None = None
    threshold_refine: float | None = None
    threshold_output: float | None = None
    max_faces: int | None = None

    def detection(self) -> DetectOptions:
        """The options of each detection.

        Raises:
            InvalidModel: One is out of its range.
        """
        values = self.model_dump(include=set(OPTION_NAMES), exclude_none=True)
        try:
            return DetectOptions(**values)
        except OptionOutOfRange as error:
            field = (error.field or "").removeprefix("options.")
            raise InvalidModel(error.detail.removeprefix("options."), field=field) from error


class BoundingBox(BaseModel):
    """An upright rectangle in pixels of the upright picture."""

    x1: float = 0
    y1: float = 0
    x2: float = 0
    y2: float = 0


class Place(BaseModel):
    """A place in the upright picture, in pixels."""

    x: float
    y: float


class FaceLandmarks(BaseModel):
    """Five places in a face; left and right are those of the viewer."""

    left_eye: Place
    right_eye: Place
    nose: Place
    mouth_left: Place
    mouth_right: Place


class FoundFace(BaseModel):
    """One face."""

    box: BoundingBox
    landmarks: FaceLandmarks
    confidence: float = Field(description="Of the detector, 0 to 1.")


class FaceLabel(BaseModel):
    """One class of the network."""

    label: str
    score: float


class LabelledFace(FoundFace):
    """One face, and what the network gives each of its classes."""

    labels: list[FaceLabel] = Field(description="Best first.")


class FaceVector(FoundFace):
    """One face, and the network's numbers for it."""

    vector: list[float]


class LabelsOutput(BaseModel):
    """The faces of a picture, most confident first."""

    faces: list[LabelledFace]


class VectorsOutput(BaseModel):
    """The faces of a picture, most confident first."""

    faces: list[FaceVector]


class PerFace(Model):
    """Finds the faces of a picture, and has a network look at each."""

    Input = PictureInput
    options_class: type[PerFaceOptions] = PerFaceOptions

    def load(self, folder: Path | None, options: Mapping[str, Any]) -> None:
        """Load the network and a detector.

        Raises:
            InvalidModel: The options, the graph or the labels, or two of them do not fit.
            ModelLoadFailed: There is no detector.
        """
        chosen = read_options(self.options_class, options)
        if chosen.crop == "aligned" and chosen.size[0] != chosen.size[1]:
            raise InvalidModel(
                f"size is {list(chosen.size)}; accepted for aligned faces: a square", field="size"
            )
        self._options = chosen
        self._network = PictureNetwork(folder, chosen)
        self.labels = read_labels(folder, chosen.labels) if chosen.answer == "labels" else []
        check_labels(self.labels or None, self._network.classes)
        self._detect_options = chosen.detection()
        self._reader = PictureReader()
        self._detector = _load_detector()
        self.Output = self.output_class()

    def output_class(self) -> type[BaseModel]:
        """What is answered with these options."""
        return LabelsOutput if self.labels else VectorsOutput

    def predict(self, inputs: Sequence[PictureInput]) -> list[BaseModel]:
        """Find and look at the faces of each picture.

        Raises:
            FacetError: Of any of them; see `PictureReader.read`.
            TooManyCandidates: See `Detector.detect`.
        """
        return [self.answer(self._faces(self._reader.read(item))) for item in inputs]

    def answer(self, faces: Sequence[tuple[Face, Floats]]) -> BaseModel:
        """The answer for a picture, from its faces and the network's numbers for them."""
        if not self.labels:
            return VectorsOutput(
                faces=[FaceVector(**found(face), vector=numbers.tolist()) for face, numbers in faces]
            )
        return LabelsOutput(
            faces=[LabelledFace(**found(face), labels=self._best_first(numbers)) for face, numbers in faces]
        )

    def _best_first(self, numbers: Floats) -> list[FaceLabel]:
        scores = zip(self.labels, numbers.tolist(), strict=True)
        return [FaceLabel(label=label, score=score) for label, score in sorted(scores, key=lambda of: -of[1])]

    def _faces(self, pixels: Pixels) -> list[tuple[Face, Floats]]:
        faces = self._detector.detect(pixels, self._detect_options)
        cut = self._cutter(pixels)
        crops = [self._network.normalised(cut(face)) for face in faces]
        return list(zip(faces, self._network.run(crops), strict=True))

    def _cutter(self, pixels: Pixels) -> Callable[[Face], Image.Image]:
        """What cuts faces out of a picture."""
        options = self._options
        if options.crop == "aligned":
            return lambda face: aligned(pixels, face.landmarks, options.size[0])
        picture = Image.fromarray(pixels)
        return lambda face: boxed(picture, face.box, options.margin, options.size)


def found(face: Face) -> dict[str, Any]:
    """The fields of a `FoundFace`."""
    corners = face.box
    return {
        "box": BoundingBox(
            x1=corners.up_left.x, y1=corners.up_left.y, x2=corners.lower_right.x, y2=corners.lower_right.y
        ),
        "landmarks": FaceLandmarks.model_validate(face.landmarks, from_attributes=True),
        "confidence": face.confidence,
    }


def _load_detector() -> Detector:
    settings = Settings.from_environ(os.environ)
    try:
        choice = choose(settings.engine, settings.native_isa)
        detector = create_detector(choice, settings.cache_dir, settings.max_candidates)
        self_test(detector)
    except (EngineUnavailable, WeightsError, SelfTestFailed) as error:
        raise ModelLoadFailed(
            "there is no face detector for this model, as FACET_ENGINE and FACET_CACHE_DIR say; the log has "
            "the reason"
        ) from error
    return detector
