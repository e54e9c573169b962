"""Whether a version of a model keeps what clients of its other versions rely on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inference_server.catalogue.names import version_key
from utils.errors import InvalidModel

_HELP = (
    "A version may add fields, those of its input with a default, and nothing else; what differs otherwise "
    "needs a new name."
)

Fields = Mapping[str, Mapping[str, tuple[int, str]]]
"""By message or enum, and by field or value: the number and the type, as `fields` of a card has them."""


def check_growth(card: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a version that clients of another version of the model could not call, or be answered by.

    Args:
        card: The version's.
        others: The cards of other versions of it.

    Raises:
        InvalidModel: The higher version of two has a field no more, or with another number or type, or
            requires one that the other does not; names it.
    """
    for other in others:
        older, newer = sorted((card, other), key=lambda one: version_key(one["version"]))
        _check(older["fields"], newer["fields"])
        # What a backend remembers may be the card of an earlier release, which did not tell.
        _check_required(older.get("required", {}), newer.get("required", {}))


def incompatible(message: str, member: str, how: str) -> InvalidModel:
    """The error of a field, or value, that is not what it was."""
    return InvalidModel(f"{member} of {message} {how}. {_HELP}", field=f"{message}.{member}")


def _check(older: Fields, newer: Fields) -> None:
    for message, members in older.items():
        if message not in newer:  # nothing uses it any more: the field that did is told
            continue
        for member, (number, type_) in members.items():
            if member not in newer[message]:
                raise incompatible(message, member, "was removed")
            number_now, type_now = newer[message][member]
            if number_now != number:
                raise incompatible(message, member, f"has number {number_now}, and had {number}")
            if type_now != type_:
                raise incompatible(message, member, f"is {type_now}, and was {type_}")


def _check_required(older: Mapping[str, Sequence[str]], newer: Mapping[str, Sequence[str]]) -> None:
    """Refuse what callers of the older version do not send: JSON would lack it, and a message say 0."""
    for message, members in newer.items():
        for member in members:
            if message in older and member not in older[message]:
                raise incompatible(message, member, "is required, and was not")
