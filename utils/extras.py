"""What callers may want beside the faces of a picture, and what they get then."""

from dataclasses import dataclass
from typing import Literal

from utils.errors import OptionOutOfRange
from utils.options import check, choice, number

CROP_SIZE_RANGE = (32, 512)
CROP_MARGIN_RANGE = (0.0, 2.0)
CROPS_RANGE = (1, 100)
LONGEST_SIDE_RANGE = (64, 4096)

Shape = Literal["aligned", "box"]
ALIGNED: Shape = "aligned"
BOX: Shape = "box"


@dataclass(frozen=True, slots=True)
class Crops:
    """How faces are cut out, each as a square.

    Attributes:
        size: Of a crop, in pixels, 32 to 512.
        shape: `aligned` turns, scales and moves a face so that its landmarks lie where ArcFace's template has
            them; `box` is the square around its box, with its centre and its longer side.
        margin: Of `box`, the share of the longer side that is added at each edge, 0 to 2.
        max: At most this many faces have a crop, the most confident, 1 to 100.

    Raises:
        OptionOutOfRange: A value is none of these; names the field.
    """

    size: int = number(112, CROP_SIZE_RANGE)
    shape: Shape = choice(ALIGNED, BOX)
    margin: float = number(0.0, CROP_MARGIN_RANGE)
    max: int = number(100, CROPS_RANGE)

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        check(self, "wanted.crops")
        if self.margin and self.shape == ALIGNED:
            raise OptionOutOfRange(
                f"wanted.crops.margin is {self.margin!r}; accepted for the shape aligned: 0",
                field="wanted.crops.margin",
            )


@dataclass(frozen=True, slots=True)
class Annotated:
    """How faces are drawn into the picture.

    Attributes:
        longest_side: Pixels that it is reduced to, if it has more, 64 to 4096.
        landmarks: Whether each landmark has a mark.
        scores: Whether each face's confidence stands at its frame, with two digits.

    Raises:
        OptionOutOfRange: A value is none of these; names the field.
    """

    longest_side: int = number(1280, LONGEST_SIDE_RANGE)
    landmarks: bool = choice(False, True)
    scores: bool = choice(False, True)

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        check(self, "wanted.annotated")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted beside the faces: by default nothing."""

    quality: bool = False
    crops: Crops | None = None
    annotated: Annotated | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether the faces are all that is wanted."""
        return not self.quality and self.crops is None and self.annotated is None


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture: the bytes of its file, and its size in pixels."""

    data: bytes
    media_type: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Quality:
    """What the pixels of a face are like. The first three are of its aligned crop of 112 x 112 in grey.

    Attributes:
        sharpness: Variance of the Laplacian: low where the face is blurred.
        brightness: Mean, 0 to 255.
        contrast: Standard deviation.
        roll_degrees: Angle of the line from the left eye to the right one; above 0 where it falls to the
            right.
        eye_distance: Between the eyes, in pixels of the upright picture.
    """

    sharpness: float
    brightness: float
    contrast: float
    roll_degrees: float
    eye_distance: float
