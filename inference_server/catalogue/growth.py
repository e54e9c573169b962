"""Whether a version of a model keeps what clients of its other versions rely on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inference_server.catalogue.names import version_key
from utils.errors import InvalidModel, shown

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


def check_identity(card: Mapping[str, Any], name: str, version: str) -> None:
    """Refuse a card of another model or of another version; an empty version is any.

    Raises:
        InvalidModel: It is one; the field is `version`.
    """
    said = card.get("name"), card.get("version")
    if said[0] != name or not isinstance(said[1], str) or version not in ("", said[1]):
        raise InvalidModel(
            f"{name}/{version} says that it is {shown(str(said[0]))}/{shown(str(said[1]))}", field="version"
        )


def check_kept(card: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Refuse what a later process says of a version, where clients of an earlier one could not call it.

    Args:
        card: What the later process says.
        before: The version's card at present.

    Raises:
        InvalidModel: It is another model or version; it lacks a field or an operation, or has a field with
            another number or type, or requires one that was not there; names it.
    """
    check_identity(card, before["name"], before["version"])
    _check(before["fields"], card["fields"])
    for operation in before["operations"]:
        if operation not in card["operations"]:
            raise InvalidModel(f"{before['name']} cannot be called by {operation} any more. {_HELP}")
    inputs, inputs_before = _objects(card["input_schema"]), _objects(before["input_schema"])
    for name, known in inputs_before.items():
        for member in inputs.get(name, {}).get("required", ()):
            if member not in known.get("properties", {}):
                raise incompatible(name or card["input_type"], member, "is new and required")


def incompatible(message: str, member: str, how: str) -> InvalidModel:
    """The error of a field, or value, that is not what it was."""
    return InvalidModel(f"{member} of {message} {how}. {_HELP}", field=f"{message}.{member}")


def _objects(schema: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """By name all objects of a JSON schema; the outermost has none."""
    return {"": schema, **schema.get("$defs", {})}


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
