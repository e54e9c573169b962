"""Reads a config.pbtxt."""

from pathlib import Path
from typing import Any, Final

from google.protobuf import text_format

from protos.triton import model_config_class
from utils.errors import InvalidModel

_MAX_BYTES: Final = 1_000_000


def read_config(path: Path) -> Any:  # noqa: ANN401 - its class is made at run time
    """The message `inference.ModelConfig` that the file is the text of.

    Raises:
        InvalidModel: It is none; a key that Triton does not have is named, with its line and column.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise InvalidModel(f"{path.name} is longer than {_MAX_BYTES} bytes")
    try:
        return text_format.Parse(content.decode(), model_config_class()())
    except UnicodeDecodeError as error:
        raise InvalidModel(f"{path.name} is no text in UTF-8") from error
    except text_format.ParseError as error:
        raise InvalidModel(f"{path.name} is no configuration of Triton: {error}") from error
