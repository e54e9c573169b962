"""Puts a version of a model into the store, whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def new_version(target: Path) -> Iterator[Path]:
    """An empty folder to be filled; with the end of the block it is the version, unless that has raised.

    Args:
        target: Of the version, STORE/NAME/VERSION. What is there already is replaced.

    Raises:
        OSError: The store cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as temporary:
        made = Path(temporary) / target.name
        made.mkdir()
        yield made
        for path in made.rglob("*"):
            _sync(path)
        if target.exists():
            target.rename(Path(temporary) / "replaced")
        made.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    """Have a file or a folder on disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
