"""Options that callers set: fields of dataclasses which say what they accept."""

import math
from ctypes import c_float
from dataclasses import field, fields
from typing import Any

from utils.errors import OptionOutOfRange


def number(default: float | None, bounds: tuple[float, float]) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A field for a number from `bounds`, which is whole where these are; None where that is its default."""
    return field(default=default, metadata={"bounds": bounds})


def choice(default: object, *others: object) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A field for one of these values, which are of one type."""
    return field(default=default, metadata={"choices": (default, *others)})


def check(options: Any, path: str) -> None:  # noqa: ANN401 - a dataclass
    """Refuse a value that its field does not accept. Fields made in another way are passed over.

    Args:
        options: Whose fields were made by `number` and `choice`.
        path: Of the options within a request.

    Raises:
        OptionOutOfRange: Names the first such field.
    """
    for option in fields(options):
        value = getattr(options, option.name)
        if value is None and option.default is None:
            continue
        accepted = _refused(value, option.metadata)
        if accepted:
            name = f"{path}.{option.name}"
            raise OptionOutOfRange(f"{name} is {value!r}; accepted: {accepted}", field=name)


def _refused(value: object, metadata: Any) -> str:  # noqa: ANN401 - of a field
    """What is accepted in place of a value; empty where the value is."""
    if "bounds" in metadata:
        low, high = metadata["bounds"]
        whole = isinstance(low, int)
        if not _is_number(value, whole=whole) or not low <= value <= high:
            return f"{'a whole number' if whole else 'a number'} from {low:g} to {high:g}"
    if "choices" in metadata:
        choices = metadata["choices"]
        if type(value) is not type(choices[0]) or value not in choices:
            return " or ".join(str(one).lower() for one in choices)
    return ""


def _is_number(value: object, *, whole: bool) -> bool:
    if isinstance(value, bool):  # which Python counts among the integers
        return False
    if whole:
        return isinstance(value, int)
    return isinstance(value, int | float) and math.isfinite(value)


def shortest(value: float) -> float:
    """The number with the fewest digits that is this float32: what its sender wrote, 0.6 for 0.60000002."""
    for digits in (6, 7, 8):
        candidate = float(f"{value:.{digits}g}")
        if c_float(candidate).value == value:
            return candidate
    return float(f"{value:.9g}")  # nine digits always tell two float32 apart
