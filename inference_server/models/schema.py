"""Sketch: schemas of models."""

from typing import Any

from inference_server.models.lock import Lock


class Schema:
    """What a model takes and gives."""

    def __init__(self, name: str, model_input: Any, model_output: Any, lock: Lock | None = None) -> None:  # noqa: ANN401
        raise NotImplementedError(name, model_input, model_output, lock)
