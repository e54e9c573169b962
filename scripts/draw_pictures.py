"""Draw the pictures that Facet ships from the portrait in `examples/`.

    python -m scripts.draw_pictures [CACHE_DIR]

They are the detector's built-in picture and the README's picture of a result, the latter from a real
detection. The models are converted first where need be.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inference_server.detector.choice import choose
from inference_server.detector.convert import convert
from inference_server.detector.factory import create_detector
from inference_server.detector.weights import models_ready
from utils.domain import Face, Point
from utils.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
ASTRONAUT = ROOT / "examples" / "astronaut.png"
PORTRAIT = ROOT / "inference_server" / "detector" / "portrait.jpg"
RESULT = ROOT / "docs" / "result.png"

_PORTRAIT_AREA = (140, 20, 310, 220)
_COLOUR = (255, 196, 0)
_LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


def draw_portrait() -> None:
    """Cut the face out, small enough to be detected in a few milliseconds."""
    with Image.open(ASTRONAUT) as astronaut:
        astronaut.convert("RGB").crop(_PORTRAIT_AREA).save(PORTRAIT, quality=85)


def draw_result(cache_dir: Path) -> None:
    """Draw what the detector finds in the portrait over it."""
    if not models_ready(cache_dir):
        convert(cache_dir)
    detector = create_detector(choose(), cache_dir, max_candidates=20_000)
    with Image.open(ASTRONAUT) as astronaut:
        picture = astronaut.convert("RGB")
    faces = detector.detect(np.asarray(picture))
    enlarged = 2  # drawn large and reduced, which smooths the lines
    canvas = picture.resize((picture.width * enlarged, picture.height * enlarged), Image.Resampling.LANCZOS)
    for face in faces:
        _draw_face(ImageDraw.Draw(canvas), face, enlarged)
    result = canvas.resize(picture.size, Image.Resampling.LANCZOS)
    result.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(RESULT, optimize=True)


def _draw_face(draw: ImageDraw.ImageDraw, face: Face, scale: int) -> None:
    def at(point: Point) -> tuple[float, float]:
        return point.x * scale, point.y * scale

    draw.rounded_rectangle((*at(face.box.up_left), *at(face.box.lower_right)), 6, outline=_COLOUR, width=5)
    for name in _LANDMARKS:
        draw.circle(at(getattr(face.landmarks, name)), 7, fill=_COLOUR, outline=(40, 40, 40), width=2)
    font = ImageFont.load_default(26)
    x, y = at(face.box.up_left)
    label = f"{face.confidence:.4f}"
    area = draw.textbbox((x + 8, y - 10), label, font=font, anchor="ls")
    draw.rounded_rectangle((area[0] - 8, area[1] - 7, area[2] + 8, area[3] + 7), 6, fill=_COLOUR)
    draw.text((x + 8, y - 10), label, fill=(20, 20, 20), font=font, anchor="ls")


if __name__ == "__main__":
    draw_portrait()
    draw_result(Path(sys.argv[1]) if sys.argv[1:] else Settings().cache_dir)
