"""The words of face detection, as plain immutable values: everything else imports these.

The frame of every coordinate is the upright picture (after its EXIF orientation was applied): pixels,
origin in the top left corner, x to the right, y downwards, floats that nobody has rounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from utils.errors import ImageEmpty, ImageTooLarge, MalformedRequest
from utils.extras import Picture, Quality, Wanted
from utils.options import check, number

MIN_FACE_SIZE_RANGE = (10.0, 2000.0)
THRESHOLD_PROPOSAL_RANGE = (0.1, 1.0)
THRESHOLD_RANGE = (0.0, 1.0)
MAX_FACES_RANGE = (1, 1000)


@dataclass(frozen=True, slots=True)
class Point:
    """A place in the upright picture, in pixels."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle. Its corners lie within [0, width - 1] x [0, height - 1] of the picture."""

    up_left: Point
    lower_right: Point


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Five places in a face. Left and right are those of the viewer, not of the person pictured.

    Unlike a box they are not clipped: a face at the edge may have landmarks outside the picture.
    """

    left_eye: Point
    right_eye: Point
    nose: Point
    mouth_left: Point
    mouth_right: Point


@dataclass(frozen=True, slots=True)
class Face:
    """One face: where it is, and how sure the detector's last network is of it (0 to 1).

    `quality` and `crop` are there where they were asked for.
    """

    box: Box
    landmarks: Landmarks
    confidence: float
    quality: Quality | None = None
    crop: Picture | None = None


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The upright picture that the coordinates refer to.

    `exif_orientation` is the tag (1 to 8) that was applied to get there; 1 where the file has none, and for
    HEIC, whose decoder has turned the picture already, by the file's own transformation.
    """

    width: int
    height: int
    exif_orientation: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What found the faces: the model, its version, and the engine that computed its networks."""

    name: str
    version: str
    engine: str


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a request's time went in the backend, in milliseconds.

    `extras_ms` is 0 where nothing was wanted beside the faces.
    """

    queue_ms: float
    decode_ms: float
    detect_ms: float
    total_ms: float
    extras_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Detection:
    """The answer to one picture: its faces, most confident first, and what they refer to.

    `image_id` and `metadata` are the caller's own, returned as sent. `annotated` is there where it was asked
    for, and where crops were, `crops_omitted` says how many faces have none because there were too many.
    """

    faces: tuple[Face, ...]
    image: ImageInfo
    model: ModelInfo
    timings: Timings
    image_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    annotated: Picture | None = None
    crops_omitted: int | None = None


@dataclass(frozen=True, slots=True)
class DetectOptions:
    """What a caller may ask of a detection. The defaults are those of the reference package.

    Attributes:
        min_face_size: Shorter side in pixels of the smallest face looked for, 10 to 2000.
        threshold_proposal: Score a proposal must exceed to be refined, 0.1 to 1.
        threshold_refine: Score a refined candidate must exceed, 0 to 1.
        threshold_output: Score a face must exceed, 0 to 1.
        max_faces: Keep at most this many of the most confident faces, 1 to 1000; None keeps all.

    Raises:
        OptionOutOfRange: A value is not a finite number in its range; names the field.
    """

    min_face_size: float = number(20.0, MIN_FACE_SIZE_RANGE)
    threshold_proposal: float = number(0.6, THRESHOLD_PROPOSAL_RANGE)
    threshold_refine: float = number(0.7, THRESHOLD_RANGE)
    threshold_output: float = number(0.8, THRESHOLD_RANGE)
    max_faces: int | None = number(None, MAX_FACES_RANGE)

    def __post_init__(self) -> None:
        """Refuse what the detector could not mean."""
        check(self, "options")


OPTION_NAMES = tuple(option.name for option in fields(DetectOptions))
"""The names a caller may use in a request's options."""


def checked_image(image: bytes, max_bytes: int) -> bytes:
    """An encoded picture, unless it is empty or larger than the limit.

    Raises:
        ImageEmpty: It has no bytes.
        ImageTooLarge: It has more than `max_bytes`.
    """
    if not image:
        raise ImageEmpty("The image has 0 bytes.", field="image")
    if len(image) > max_bytes:
        raise image_too_large(str(len(image)), max_bytes)
    return image


def image_too_large(actual: str, max_bytes: int) -> ImageTooLarge:
    """The error for an encoded picture of so many bytes, in words."""
    return ImageTooLarge(
        f"The image has {actual} bytes; the limit is {max_bytes} (FACET_MAX_IMAGE_BYTES). "
        "Send a smaller or more strongly compressed one.",
        field="image",
    )


MAX_METADATA_ENTRIES = 256
MAX_METADATA_CHARACTERS = 65_536
MAX_IMAGE_ID_CHARACTERS = 1024


@dataclass(frozen=True, slots=True)
class DetectRequest:
    """One encoded picture and what to do with it. `image` is the file's bytes.

    Raises:
        MalformedRequest: The caller's own id or notes are longer than what is carried for them.
    """

    image: bytes
    options: DetectOptions = DetectOptions()
    image_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    wanted: Wanted = Wanted()

    def __post_init__(self) -> None:
        """Refuse to carry a load that is no picture."""
        check_echoed(self.image_id, self.metadata)


def check_echoed(image_id: str, metadata: Mapping[str, str]) -> None:
    """Refuse an id or notes of the caller's that are too long, by number first: it costs nothing to know.

    Raises:
        MalformedRequest: Names the limit.
    """
    if len(image_id) > MAX_IMAGE_ID_CHARACTERS:
        raise MalformedRequest(
            f"image_id has {len(image_id)} characters; accepted: {MAX_IMAGE_ID_CHARACTERS} at most",
            field="image_id",
        )
    entries = len(metadata)
    if entries > MAX_METADATA_ENTRIES:
        raise MalformedRequest(
            f"metadata has {entries} entries; accepted: {MAX_METADATA_ENTRIES} at most", field="metadata"
        )
    characters = sum(len(name) + len(value) for name, value in metadata.items())
    if characters > MAX_METADATA_CHARACTERS:
        raise MalformedRequest(
            f"metadata has {characters} characters; accepted: {MAX_METADATA_CHARACTERS} at most",
            field="metadata",
        )
