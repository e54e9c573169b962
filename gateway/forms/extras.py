"""What a request wants beside the faces, by the names it has over HTTP: `include`, and options of each."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from utils.errors import MalformedRequest, OptionOutOfRange, shown
from utils.extras import Annotated, Crops, Wanted

INCLUDE = "include"
QUALITY, CROPS, ANNOTATED = INCLUDED = ("quality", "crops", "annotated")
"""What may be included."""

_PREFIXES = {CROPS: "crop_", ANNOTATED: "annotated_"}
_CLASSES: Mapping[str, Any] = {CROPS: Crops, ANNOTATED: Annotated}

EXTRA_OPTIONS = {
    f"{_PREFIXES[kind]}{option.name}": (kind, option)
    for kind, made in _CLASSES.items()
    for option in fields(made)
}
"""By the name of each option what it is for, and the field of the class in utils.extras that it sets."""


def wanted_from(values: Mapping[str, Any], included: str) -> Wanted:
    """What is wanted, by options as JSON has them, of which none is null.

    Args:
        values: Some of INCLUDE and EXTRA_OPTIONS.
        included: What is wanted in any case, and nothing else; empty: what INCLUDE says.

    Raises:
        OptionOutOfRange: A value is not accepted.
        MalformedRequest: An option is for what is not included, or something is included twice.
    """
    if not values and not included:
        return Wanted()
    kinds = _kinds(values.get(INCLUDE), included)
    set_options: dict[str, dict[str, Any]] = {kind: {} for kind in _CLASSES}
    for name, value in values.items():
        if name != INCLUDE:
            kind, option = EXTRA_OPTIONS[name]
            if kind not in kinds:
                raise MalformedRequest(
                    f"options.{name} is given without {kind}; accepted: beside {INCLUDE}={kind}",
                    field=f"options.{name}",
                )
            set_options[kind][option.name] = value
    crops, annotated = (_made(kind, set_options[kind]) if kind in kinds else None for kind in _CLASSES)
    return Wanted(QUALITY in kinds, crops, annotated)


def _kinds(names: Any, included: str) -> Collection[str]:  # noqa: ANN401 - any JSON
    """What is to be included.

    Raises:
        OptionOutOfRange: One of the names is not accepted, or they are no list.
        MalformedRequest: One comes twice.
    """
    accepted = (included,) if included else INCLUDED
    if names is None:
        return (included,)
    field = f"options.{INCLUDE}"
    if not isinstance(names, list):
        raise OptionOutOfRange(
            f"{field} is no list; accepted: a list of {' or '.join(accepted)}", field=field
        )
    for at, name in enumerate(names):
        if name not in accepted:
            raise OptionOutOfRange(
                f"{field} has {shown(str(name))!r}; accepted: {' or '.join(accepted)}", field=field
            )
        if name in names[:at]:
            raise MalformedRequest(f"{field} has {name!r} twice", field=field)
    return (*names, included)


def _made(kind: str, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - one of _CLASSES
    """What is wanted of a kind; an error calls its option by the name that it has here."""
    try:
        return _CLASSES[kind](**values)
    except OptionOutOfRange as error:
        name = (error.field or "").rpartition(".")[2]
        here = f"options.{_PREFIXES[kind]}{name}"
        raise OptionOutOfRange(error.detail.replace(error.field or "", here, 1), field=here) from error
