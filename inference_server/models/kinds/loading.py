"""What the kinds do alike when they load a version of a model: read its options, and its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from onnxruntime import InferenceSession
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inference_server.onnx_session import open_session
from utils.errors import InvalidModel, shown, without_folders

FileName = Annotated[str, Field(min_length=1, max_length=255)]
"""A file's path in the version's folder."""


class Options(BaseModel):
    """The keys of a kind in model.toml; others are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


AnyOptions = TypeVar("AnyOptions", bound=Options)


def read_options(kind: type[AnyOptions], options: Mapping[str, Any]) -> AnyOptions:
    """The options of a version.

    Raises:
        InvalidModel: A key is unknown, missing, or has a value that it cannot have.
    """
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        raise InvalidModel(
            f"{shown(key)} is no key of this kind of model; accepted: {', '.join(kind.model_fields)}",
            field=key,
        )
    raise InvalidModel(f"{key or 'the options'} of the model: {first['msg']}", field=key or None)


def file_in(folder: Path | None, name: str, key: str) -> Path:
    """A file of the version.

    Args:
        folder: Of the version.
        name: What the option says, relative to the folder.
        key: The option's, for the error.

    Raises:
        InvalidModel: There is none, or it is, through `..` or a link, outside the folder.
    """
    if folder is None:
        raise InvalidModel("a model of this kind needs a folder in the store", field=key)
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InvalidModel(f"{key} is {shown(name)!r}, which leads out of the version's folder", field=key)
    if not path.is_file():
        raise InvalidModel(
            f"{key} is {shown(name)!r}, but there is no such file in the version's folder", field=key
        )
    return path


def open_model(folder: Path | None, name: str, key: str = "file") -> InferenceSession:
    """A session on an ONNX file of the version.

    Raises:
        InvalidModel: As `file_in`, or the file is no ONNX model that ONNX Runtime can run.
    """
    path = file_in(folder, name, key)
    try:
        return open_session(path)
    except Exception as error:  # ONNX Runtime's errors have no common class
        reason = without_folders(str(error).replace(f"{path.parent}/", ""))
        raise InvalidModel(f"{shown(name)} cannot be loaded as ONNX: {reason}", field=key) from error


def read_labels(folder: Path | None, name: str, key: str = "labels") -> list[str]:
    """The lines of a text file in UTF-8, one label each; empty lines at its end do not count.

    Raises:
        InvalidModel: As `file_in`, or a label is empty, or the file is no text.
    """
    try:
        labels = file_in(folder, name, key).read_text(encoding="utf-8").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise InvalidModel(f"{shown(name)} is no text in UTF-8", field=key) from error
    labels = [label.strip() for label in labels]
    if not all(labels) or not labels:
        raise InvalidModel(f"{shown(name)} has an empty line; accepted: a label on each", field=key)
    return labels
