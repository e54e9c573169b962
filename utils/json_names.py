"""JSON in which an object has a name twice: parsers take the last of the two, and say nothing."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from utils.errors import MalformedRequest, shown


class _Repeated(str):
    """A name that an object has twice; it stands in the place of the object."""

    __slots__ = ()


def refuse_repeated_names(text: bytes) -> None:
    """Refuse JSON in which an object has a name twice.

    Args:
        text: What a parser has read already, so that it is JSON; a byte order mark may be before it.

    Raises:
        MalformedRequest: A name comes twice; `field` is the path of the member.
        RecursionError: It is nested more deeply than Python's own parser can read.
    """
    if not _may_repeat(text):
        return
    repeated: list[_Repeated] = []

    def made(pairs: Sequence[tuple[str, Any]]) -> object:
        values = dict(pairs)
        if len(values) == len(pairs):
            return values
        counts = Counter(name for name, _ in pairs)
        repeated.append(_Repeated(next(name for name, count in counts.items() if count > 1)))
        return repeated[-1]

    # Whole numbers as texts: Python refuses to read very long ones.
    document = json.loads(text, object_pairs_hook=made, parse_int=str)
    if repeated:
        path = shown(".".join(_path(document)))
        raise MalformedRequest(f"{path!r} is given twice", field=path)


def _may_repeat(text: bytes) -> bool:
    """Whether two names may be the same one: a look that costs little where values are large.

    Whatever stands in quotes before a colon may be a name, and so may be two texts that are the same but for
    escapes. A list of objects has the same names in each, and so may repeat one.
    """
    if b"\\" in text:
        return True
    names = set()
    at = text.find(b":")
    while at >= 0:
        end = text.rfind(b'"', 0, at)
        name = text[text.rfind(b'"', 0, end) + 1 : end]
        if name in names:
            return True
        names.add(name)
        at = text.find(b":", at + 1)
    return False


def _path(value: object) -> list[str]:
    """The names and places that lead to the first name that is repeated; empty where none is."""
    if isinstance(value, _Repeated):
        return [value]
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for name, member in members:
        path = _path(member)
        if path:
            return [str(name), *path]
    return []
