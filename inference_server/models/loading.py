"""Sketch: models from their sources."""

from typing import Any

from inference_server.catalogue.entries import Source
from inference_server.models.lock import Lock


def load_model(source: Source) -> Any:  # noqa: ANN401
    """A loaded model."""
    raise NotImplementedError(source)


def read_lock(source: Source, *, complete: bool = True) -> Lock | None:
    """The lock that is shipped with a model."""
    raise NotImplementedError(source, complete)
