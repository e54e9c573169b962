"""What authors of models import."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from utils.errors import InvalidInput

__all__ = ["Double", "InvalidInput", "Model"]


class Double:
    """Makes a float a `double` of protobuf."""


class Model:
    """A model that Facet serves."""

    name: str = ""
    version: str = "1.0"
    description: str = ""
    Input: type[BaseModel]
    Output: type[BaseModel]
    max_batch: int = 1

    def load(self, folder: Path | None, options: Mapping[str, Any]) -> None:
        """Make the model ready."""

    def predict(self, inputs: Sequence[Any]) -> list[Any]:
        """Answer each input, in order."""
        raise NotImplementedError
