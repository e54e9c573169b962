"""What is wanted beside the faces of one picture, and what computing it costs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from PIL import Image

from inference_server.detector.engine import Checkpoint
from inference_server.detector.engine import Image as Pixels
from inference_server.models.alignment import aligned, squared
from inference_server.models.extras.drawing import annotated
from inference_server.models.extras.files import jpeg
from inference_server.models.extras.quality import ALIGNED_SIDE, quality
from utils.domain import Face
from utils.extras import ALIGNED, Crops, Picture, Wanted

# What takes how long (`make bench NAME=extras`), beside the 45 ns of a pixel to search (NAME=roofline).
_REDUCING = 0.1
"""A pixel of a picture that is drawn into."""
_ENCODING = 0.1
"""A pixel of what that is reduced to."""
_QUALITY = 10_000
"""The quality of a face."""
_CROP = 0.7
"""A pixel of a crop."""
_FACES = 4
"""How many a picture is expected to have, before they are looked for."""


class Extras(NamedTuple):
    """What came of it; the attributes are those of a Detection."""

    faces: tuple[Face, ...]
    annotated: Picture | None
    crops_omitted: int | None


def compute(pixels: Pixels, faces: Sequence[Face], wanted: Wanted, checkpoint: Checkpoint) -> Extras:
    """Compute what is wanted.

    Args:
        pixels: The upright picture, RGB.
        faces: Of it, the most confident first.
        wanted: What is.
        checkpoint: Called between two steps; may raise.
    """
    drawn, omitted = None, None
    if wanted.annotated is not None:
        drawn = annotated(pixels, faces, wanted.annotated, checkpoint)
    if wanted.crops is not None:
        omitted = max(len(faces) - wanted.crops.max, 0)
    if wanted.quality or wanted.crops is not None:
        faces = [*_looked_at(pixels, faces, wanted, checkpoint)]
    return Extras(tuple(faces), drawn, omitted)


def _looked_at(
    pixels: Pixels, faces: Iterable[Face], wanted: Wanted, checkpoint: Checkpoint
) -> Iterator[Face]:
    """The faces, with a quality each and a crop for the first of them, where they are wanted."""
    crops = wanted.crops
    for number, face in enumerate(faces):
        checkpoint()
        found, cut = None, None
        if wanted.quality:
            found = quality(aligned(pixels, face.landmarks, ALIGNED_SIDE), face.landmarks)
        if crops is not None and number < crops.max:
            cut = jpeg(_cut(pixels, face, crops))
        yield replace(face, quality=found, crop=cut)


def _cut(pixels: Pixels, face: Face, crops: Crops) -> Image.Image:
    if crops.shape == ALIGNED:
        return aligned(pixels, face.landmarks, crops.size)
    return squared(pixels, face.box, crops.margin, crops.size)


def cost_of_extras(wanted: Wanted, width: int, height: int, max_faces: int) -> float:
    """The cost of what is wanted of one picture, in megapixels to search.

    Args:
        wanted: What is.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        max_faces: At most this many are answered; 0: any number.
    """
    cost = 0.0
    if wanted.annotated is not None:
        share = min(wanted.annotated.longest_side / max(width, height), 1.0)
        cost += (_REDUCING + _ENCODING * share**2) * width * height
    faces = min(_FACES, max_faces or _FACES)
    if wanted.quality:
        cost += faces * _QUALITY
    if wanted.crops is not None:
        cost += min(faces, wanted.crops.max) * _CROP * wanted.crops.size**2
    return cost / 1e6
