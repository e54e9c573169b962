"""Sketch: face detection as a model."""

from typing import Any


def face_card(name: str) -> dict[str, Any]:
    """Its card."""
    raise NotImplementedError(name)
