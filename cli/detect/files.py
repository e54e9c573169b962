"""Pictures that are written: with faces drawn into them, and faces that were cut out of them."""

import mimetypes
import os
from pathlib import Path

from cli.detect.options import Asked
from cli.detect.pictures import STDIN, Outcome, PictureFile, Problem
from utils.extras import Picture


def write_files(picture: PictureFile, outcome: Outcome, asked: Asked) -> Path | None:
    """Write what was asked for; gives the path of the picture with its faces drawn into it, if there is one.

    Raises:
        OSError: It cannot be written.
    """
    if isinstance(outcome, Problem):
        return None
    if asked.crops is not None:
        folder = _place(asked.crops, picture)
        for number, face in enumerate(outcome.faces, 1):
            if face.crop is not None:
                _write(folder / str(number), face.crop)
    if asked.annotated is not None and outcome.annotated is not None:
        return _write(_place(asked.annotated, picture), outcome.annotated)
    return None


def _place(folder: Path, picture: PictureFile) -> Path:
    """Where the files of a picture are: below the folder as its own is below the one of the command.

    One that lies elsewhere has the place that it has below the root.
    """
    path = Path("stdin" if picture.path == STDIN else picture.path)
    if path.is_absolute() or ".." in path.parts:
        path = Path(os.path.abspath(path)).relative_to("/")  # noqa: PTH100 - links stay as they are
    return folder / path


def _write(path: Path, picture: Picture) -> Path:
    """Write a file, whose name ends as its kind of picture does."""
    suffix = mimetypes.guess_extension(picture.media_type) or ""
    if path.suffix.lower() != suffix:
        path = path.with_name(path.name + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture.data)
    return path
