"""Which keys model.toml may have for each kind of model, and of what type.

What a value means, its range and which keys must be there is known to the code of the kind, which a process
of the model runs. What can be found without that code is found here, before such a process is started.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from utils.errors import InvalidModel, shown


@dataclass(frozen=True, slots=True)
class _Type:
    accepted: str
    fits: Callable[[object], bool]


def _is_number(value: object) -> bool:
    return (isinstance(value, float) and math.isfinite(value)) or _is_whole(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list_of(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(fits, value))


_CLASS_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")

_FILE = _Type("the name of a file in the version's folder", lambda value: isinstance(value, str))
_TEXT = _Type("a text", lambda value: isinstance(value, str))
_FLAG = _Type("true or false", lambda value: isinstance(value, bool))
_WHOLE = _Type("a whole number", _is_whole)
_NUMBER = _Type("a number", _is_number)
_SIZE = _Type(
    "[height, width]", lambda value: isinstance(value, list) and [*map(_is_whole, value)] == [True, True]
)
_NUMBERS = _Type("a list of numbers", _is_list_of(_is_number))
_CLASS = _Type("`module:Class`", lambda value: isinstance(value, str) and bool(_CLASS_NAME.fullmatch(value)))

_NETWORK = {"file": _FILE, "size": _SIZE, "mean": _NUMBERS, "std": _NUMBERS, "softmax": _FLAG}
_PER_FACE = {
    **_NETWORK,
    "crop": _TEXT,
    "margin": _NUMBER,
    "answer": _TEXT,
    "labels": _FILE,
    "min_face_size": _NUMBER,
    "threshold_proposal": _NUMBER,
    "threshold_refine": _NUMBER,
    "threshold_output": _NUMBER,
    "max_faces": _WHOLE,
}

KEYS: Final[Mapping[str, Mapping[str, _Type]]] = {
    "echo": {},
    "onnx": {"file": _FILE, "batched": _FLAG},
    "image_classification": {
        **_NETWORK,
        "answer": _TEXT,
        "first_class": _WHOLE,
        "labels": _FILE,
        "top": _WHOLE,
    },
    "per_face": _PER_FACE,
    "expression": _PER_FACE,
    "python": {"class": _CLASS},
}
"""The keys of each kind."""

STORED_KINDS: Final = tuple(KEYS)
"""The kinds that model.toml may name."""


def check_options(kind: str, options: Mapping[str, Any], folder: Path) -> None:
    """Refuse what no model of this kind can be loaded from.

    Args:
        kind: One of STORED_KINDS.
        options: The keys of the kind.
        folder: Of the version, absolute and without links.

    Raises:
        InvalidModel: A key is unknown, a value is of another type, or a file is not there; names the key.
    """
    for key, value in options.items():
        expected = KEYS[kind].get(key)
        if expected is None and kind == "python":
            continue  # the model's own, which its `load` is given
        if expected is None:
            known = ", ".join(KEYS[kind]) or "none"
            raise InvalidModel(
                f"{shown(key)!r} is no key of the kind {kind}; accepted: {known}", field=shown(key)
            )
        if not expected.fits(value):
            raise InvalidModel(f"{key} is {shown(repr(value))}; accepted: {expected.accepted}", field=key)
        if expected is _FILE:
            _check_file(key, value, folder)


def _check_file(key: str, value: str, folder: Path) -> None:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\0" in value:
        raise InvalidModel(f"{key} is {shown(value)!r}; accepted: {_FILE.accepted}", field=key)
    try:
        found = (folder / path).resolve()
    except RuntimeError as error:
        raise InvalidModel(f"{key} is {shown(value)!r}, a link to itself", field=key) from error
    if not found.is_relative_to(folder):
        raise InvalidModel(f"{key} is {shown(value)!r}, a link that leads out of the folder", field=key)
    if not found.is_file():
        raise InvalidModel(f"{key} is {shown(value)!r}, but there is no such file in the folder", field=key)
