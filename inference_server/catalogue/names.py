"""What models and their versions may be called, and how those names are compared."""

import re

from utils.errors import InvalidModel, shown
from utils.settings import MODEL_NAME

FACE_DETECTION = "face_detection"
"""The model of queue 0, which the workers themselves host."""

_VERSION = re.compile(r"[0-9][A-Za-z0-9._-]{0,31}")
_NO_IDENTIFIER = re.compile(r"[^A-Za-z0-9_]")
_NUMBER_OR_WORD = re.compile(r"[0-9]+|[A-Za-z]+")


def check_name(name: str) -> str:
    """Give the name back if a model may have it.

    Raises:
        InvalidModel: It may not; the field is `name`.
    """
    if not MODEL_NAME.fullmatch(name):
        raise InvalidModel(
            f"The model's name is {shown(name)!r}; accepted: 1 to 64 letters, digits, `.`, `_` and `-`, the "
            "first of them a letter or a digit",
            field="name",
        )
    return name


def check_version(version: str) -> str:
    """Give the version back if a model may have it.

    Raises:
        InvalidModel: It may not; the field is `version`.
    """
    if not _VERSION.fullmatch(version):
        raise InvalidModel(
            f"The version is {shown(version)!r}; accepted: 1 to 32 letters, digits, `.`, `_` and `-`, the "
            "first of them a digit",
            field="version",
        )
    return version


def identifier(name: str) -> str:
    """The name as an identifier of protobuf: other characters become `_`, and none begins with a digit."""
    made = _NO_IDENTIFIER.sub("_", name)
    return f"_{made}" if made[0].isdigit() else made


def whole_number(version: str) -> str:
    """The version as protocols have it whose versions are whole numbers: 1 for 1.0, others as they are."""
    number = version.removesuffix(".0")
    return number if number.isdecimal() else version


def version_key(version: str) -> tuple[tuple[tuple[bool, int, str], ...], str]:
    """A key to sort versions by: numbers as numbers (1.10 above 1.9), words above numbers."""
    parts = _NUMBER_OR_WORD.findall(version)
    compared = tuple((False, int(part), "") if part.isdigit() else (True, 0, part) for part in parts)
    return compared, version
