"""The pictures of the soak, with the right faces of each: found here, by a detector of the test's own."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from inference_server.images import decode
from tests.parity.corpus import photos_dir
from tests.parity.engines import detector
from tests.support.hooked_worker import BLUE
from tests.support.pictures import Pixels, encoded, group_photo, png, portrait
from utils.domain import Face, Point

Faces = tuple[tuple[float, ...], ...]
"""Each face as box, landmarks and confidence, exactly as they travel."""

_SETS = ("lfw_5pt", "wider_val_416")
_MOST_PIXELS = 10_000_000


@dataclass(frozen=True)
class Photo:
    """A picture and what an answer to it must say."""

    name: str
    data: bytes
    faces: Faces

    def accepts(self, faces: Faces) -> bool:
        """Whether this is the right answer."""
        return faces == self.faces


class Sleeper(Photo):
    """A picture for which a hooked detector sleeps, and then says who it is."""

    def accepts(self, faces: Faces) -> bool:
        return len(faces) == 1 and faces[0][-1] == 1


def photos(count: int) -> list[Photo]:
    """So many photographs, small ones; composites of the portrait where there is no folder of them."""
    files = _photographs(count) if photos_dir() is not None else _composites()
    return [photo(name, data) for name, data in files]


def photo(name: str, data: bytes) -> Photo:
    """A picture with the faces that are found in it here."""
    pixels, _ = decode(data, _MOST_PIXELS)
    return Photo(name, data, of_domain(detector("auto").detect(pixels)))


def sleeper() -> Photo:
    """A picture of a megapixel, for which a hooked detector sleeps for its `min_face_size` in ms."""
    pixels = np.full((1000, 1000, 3), 128, np.uint8)
    pixels[0, 0] = BLUE
    return Sleeper("sleeper", png(pixels), ())


def of_domain(faces: Iterable[Face]) -> Faces:
    """The faces of a Detection, or of a detector."""
    return tuple(
        _face(
            [f.box.up_left, f.box.lower_right, *_marks(f)],
            f.confidence,
        )
        for f in faces
    )


def of_json(results: Sequence[dict[str, Any]]) -> Faces:
    """The faces of an answer of /predict."""
    names = ("leftEye", "rightEye", "nose", "mouthLeft", "mouthRight")
    return tuple(
        _face(
            [
                Point(**point)
                for point in (
                    result["box"]["upLeft"],
                    result["box"]["lowerRight"],
                    *(result["landmarks"][name] for name in names),
                )
            ],
            result["confidence"],
        )
        for result in results
    )


def _marks(face: Face) -> list[Point]:
    marks = face.landmarks
    return [marks.left_eye, marks.right_eye, marks.nose, marks.mouth_left, marks.mouth_right]


def _face(points: list[Point], confidence: float) -> tuple[float, ...]:
    """Coordinates are float32 on the wire; a confidence has nine digits in JSON."""
    numbers = [float(np.float32(value)) for point in points for value in (point.x, point.y)]
    return (*numbers, float(f"{confidence:.9g}"))


def _photographs(count: int) -> list[tuple[str, bytes]]:
    folder = photos_dir()
    assert folder is not None
    sets = [sorted((folder / name / "images").glob("*.jpg")) for name in _SETS]
    each = count // len(sets)
    chosen = [file for files in sets for file in files[:: max(len(files) // each, 1)][:each]]
    return [(f"{file.parent.parent.name}/{file.name}", file.read_bytes()) for file in chosen]


def _composites() -> list[tuple[str, bytes]]:
    def resized(pixels: Pixels, width: int, height: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).resize((width, height)).save(file, "JPEG", quality=90)
        return file.getvalue()

    files = {"portrait": encoded(portrait(), "JPEG", quality=90)}
    for width in (200, 250, 300, 350, 400):
        files[f"portrait at {width}"] = resized(portrait(), width, width)
        files[f"group at {width}"] = resized(group_photo(), width, width * 3 // 4)
    return list(files.items())
