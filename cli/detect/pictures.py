"""Which pictures are meant: files, all that folders have, and what matches patterns."""

import glob
import os
import stat
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from utils.domain import Detection, checked_image, image_too_large
from utils.errors import FacetError

SUFFIXES = (
    *(".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png"),
    *(".tif", ".tiff", ".webp"),
)
"""Of the files of a folder that are pictures. A file that is named itself may be called anything."""

STDIN = "-"

Key = tuple[str, int | None, str | None]
"""By which a picture is known again: its path, its size in bytes, and when it was modified."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there are no faces of a picture.

    Attributes:
        reason: As in docs/errors.md, or FILE_ERROR.
        detail: In words.
    """

    reason: str
    detail: str

    @classmethod
    def of(cls, error: FacetError | OSError) -> "Problem":
        """What an error amounts to."""
        if isinstance(error, FacetError):
            return cls(error.reason, error.detail)
        return cls("FILE_ERROR", error.strerror or str(error))


Outcome = Detection | Problem
"""What came of a picture."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture that is to be searched.

    Attributes:
        path: As it was named, or found; `-` is standard input.
        size: In bytes; None of what is no regular file.
        modified: When it was, by ISO 8601 with nanoseconds; None of what is no regular file.
        content: Its bytes, where they were read already, or why it cannot be read.
    """

    path: str
    size: int | None = None
    modified: str | None = None
    content: bytes | OSError | None = None

    @property
    def key(self) -> Key:
        """By which it is known again."""
        return self.path, self.size, self.modified

    def read(self, most_bytes: int) -> bytes:
        """Its bytes.

        Raises:
            OSError: It cannot be read.
            ImageEmpty, ImageTooLarge: It has none, or more than may be sent.
        """
        if isinstance(self.content, OSError):
            raise self.content
        if self.content is not None:
            return checked_image(self.content, most_bytes)
        if self.size is not None and self.size > most_bytes:
            raise image_too_large(str(self.size), most_bytes)
        with Path(self.path).open("rb") as file:
            content = file.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise image_too_large(f"more than {most_bytes}", most_bytes)
        return checked_image(content, most_bytes)


class Pictures:
    """Pictures in the order in which they are to be searched, each once.

    Args:
        named: What was typed: files, folders, patterns, and `-` for a picture on standard input.
        passed_over: Folders that are not looked into.
        done: Pictures that are left out, because they are done already.

    Attributes:
        count: How many there are, with those that are left out.
        left_out: How many of those it has come to.

    Raises:
        click.BadParameter: There is nothing of one of these names.
    """

    def __init__(
        self, named: Sequence[str], passed_over: Collection[Path] = (), done: Collection[Key] = ()
    ) -> None:
        folders = {folder.resolve() for folder in passed_over}
        # A dict keeps the order; what cannot be listed stands in its place with its error.
        self._found: dict[str, OSError | None] = {}
        for name in named:
            self._find(name, folders)
        self._done = done
        self._stopped = False
        self.left_out = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._found)

    def stop(self) -> None:
        """Give no more of them."""
        self._stopped = True

    def __iter__(self) -> Iterator[PictureFile]:
        for path, error in self._found.items():
            picture = _picture(path, error)
            if self._stopped:
                return
            if picture.key in self._done:
                self.left_out += 1
            else:
                yield picture

    def _find(self, name: str, passed_over: Collection[Path]) -> None:
        if name == STDIN or Path(name).is_file():
            self._found.setdefault(name)
        elif Path(name).is_dir():
            self._look_into(name, passed_over)
        elif Path(name).exists():  # a pipe, a device
            self._found.setdefault(name)
        else:
            matches = sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else []  # noqa: PTH207
            if not matches:
                raise click.BadParameter(f"there is no {name!r}, and nothing matches it", param_hint="PATH")
            for match in matches:
                self._find(match, passed_over)

    def _look_into(self, folder: str, passed_over: Collection[Path]) -> None:
        def note(error: OSError) -> None:
            self._found[str(error.filename)] = error

        for parent, folders, files in os.walk(folder, onerror=note):
            folders[:] = sorted(one for one in folders if Path(parent, one).resolve() not in passed_over)
            for name in sorted(files):
                if Path(name).suffix.lower() in SUFFIXES:
                    self._found.setdefault(os.path.join(parent, name))  # noqa: PTH118 - keeps what was typed


def _picture(path: str, error: OSError | None) -> PictureFile:
    """What is at a path now."""
    if error is not None:
        return PictureFile(path, content=error)
    if path == STDIN:
        content = sys.stdin.buffer.read()
        return PictureFile(path, len(content), content=content)
    try:
        about = Path(path).stat()
    except OSError as gone:
        return PictureFile(path, content=gone)
    if not stat.S_ISREG(about.st_mode):
        return PictureFile(path)
    return PictureFile(path, about.st_size, _iso(about.st_mtime_ns))


def _iso(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
