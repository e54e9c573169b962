"""Pictures as files."""

import io

from PIL import Image

from utils.extras import Picture

_QUALITY = 85
"""Of JPEG, from 1 to 95, as Pillow counts."""


def jpeg(picture: Image.Image) -> Picture:
    """A picture, which is RGB, as a JPEG file."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return Picture(file.getvalue(), "image/jpeg", *picture.size)
