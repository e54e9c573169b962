"""Measure which share of damaged files is refused.

    PHOTOS_DIR=... python -m scripts.measure_damages

prints the table in `docs/detection.md`. A file whose damage leaves every pixel as it was counts as refused.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from inference_server.images import decode
from tests.support.damages import FORMATS, KINDS, damaged, whole, written
from tests.support.pictures import Pixels
from utils.errors import BrokenImage

_PHOTOGRAPHS = 20
_MAX_PIXELS = 25_000_000


def _files(form: str) -> Iterator[bytes]:
    """Undamaged files of this format, of the drawn pictures and some photographs."""
    yield from whole(form)
    folder = Path(os.environ["PHOTOS_DIR"])
    for path in sorted((folder / "wider_val_416").rglob("*.jpg"))[:_PHOTOGRAPHS] if form != "HEIC" else ():
        with Image.open(path) as photograph:
            yield written(form, np.asarray(photograph.convert("RGB")))


def _is_told(damaged_file: bytes, pixels: Pixels) -> bool:
    try:
        return np.array_equal(decode(damaged_file, _MAX_PIXELS)[0], pixels)
    except BrokenImage:
        return True


def main() -> None:
    """Print the table."""
    print("| format |", *(f"{kind} |" for kind in KINDS))
    print("|---|" + "---|" * len(KINDS))
    for form in FORMATS:
        told: dict[str, list[bool]] = {kind: [] for kind in KINDS}
        for data in _files(form):
            pixels, _ = decode(data, _MAX_PIXELS)
            for damage in damaged(form, data):
                told[damage.kind].append(_is_told(damage.data, pixels))
        shares = (f"{sum(found)} of {len(found)} |" if found else "- |" for found in told.values())
        print(f"| {form} |", *shares, flush=True)


if __name__ == "__main__":
    main()
