"""The kind `expression`: `per_face` for the seven expressions of the Pipeline contract."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from inference_server.models.kinds.per_face import (
    BoundingBox,
    FaceLandmarks,
    PerFace,
    PerFaceOptions,
    found,
)
from inference_server.models.kinds.pictures import Floats, Positive, Side
from utils.domain import Face
from utils.errors import InvalidModel


class ExpressionOptions(PerFaceOptions):
    """The keys of model.toml: those of `per_face`, with the defaults of the network that can be fetched."""

    size: tuple[Side, Side] = (64, 64)
    mean: Annotated[tuple[float, ...], Field(min_length=1, max_length=3)] = (0.5,)
    std: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=3)] = (0.5,)
    crop: Literal["aligned", "box"] = "box"
    answer: Literal["labels"] = "labels"


class Expression(BaseModel):
    """How much a face shows of each expression, 0 to 1, together 1."""

    neutral: float = 0
    anger: float = 0
    disgust: float = 0
    fear: float = 0
    happiness: float = 0
    sadness: float = 0
    surprise: float = 0


class Result(BaseModel):
    """One face; the first two members are those of the Pipeline contract."""

    bbox: BoundingBox
    expression: Expression
    confidence: float = Field(description="Of the detector, 0 to 1.")
    landmarks: FaceLandmarks


class Response(BaseModel):
    """The faces of a picture, most confident first, as the Pipeline contract answers them."""

    response: list[Result] = []


class ExpressionModel(PerFace):
    """Finds the faces of a picture, and tells what expression each has."""

    Input = PerFace.Input
    options_class = ExpressionOptions

    def load(self, folder: Path | None, options: Mapping[str, Any]) -> None:
        """Load the network and a detector.

        Raises:
            InvalidModel: See `PerFace.load`, or the labels are not the seven expressions.
            ModelLoadFailed: See `PerFace.load`.
        """
        super().load(folder, options)
        if sorted(self.labels) != sorted(Expression.model_fields):
            raise InvalidModel(
                f"the labels are {', '.join(self.labels)}; accepted, in any order: "
                f"{', '.join(Expression.model_fields)}",
                field="labels",
            )

    def output_class(self) -> type[BaseModel]:
        """The answer of the Pipeline contract."""
        return Response

    def answer(self, faces: Sequence[tuple[Face, Floats]]) -> Response:
        """The answer for a picture, from its faces and the network's numbers for them."""
        return Response(response=[self._result(face, numbers) for face, numbers in faces])

    def _result(self, face: Face, numbers: Floats) -> Result:
        scores = zip(self.labels, numbers.tolist(), strict=True)
        fields = found(face)
        return Result(bbox=fields.pop("box"), expression=Expression(**dict(scores)), **fields)
