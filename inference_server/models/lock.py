"""The numbers that the fields of a model's messages have, in all of its versions.

`NAME/schema.lock` in the store, or `schema.lock` in the package of a model, keeps them. A field keeps its
number for ever, also where a later version has it no more, so that no client takes one field for another.
Without a lock the numbers follow the order of the fields.
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, NamedTuple, Self

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

from inference_server.catalogue.growth import incompatible
from inference_server.models.proto_text import field_type
from utils.errors import InvalidModel

FILE_NAME = "schema.lock"
FORMAT = 1

ENUM_VALUE = "value"
"""What stands for a type where an entry is a value of an enum."""

_PROTOBUF_OWN = range(19_000, 20_000)
"""Numbers that no field may have."""


class Entry(NamedTuple):
    """A field of a message, or a value of an enum."""

    number: int
    type: str


Entries = Mapping[str, Mapping[str, Entry]]
"""By message or enum, and by field or value."""


class Lock:
    """Gives fields their numbers.

    Args:
        entries: Those that are given already.
        complete: Whether a field without one is refused, or given the next.
    """

    def __init__(self, entries: Entries | None = None, *, complete: bool = False) -> None:
        self._complete = complete
        self._entries = {name: dict(members) for name, members in (entries or {}).items()}

    @property
    def entries(self) -> Entries:
        """Those that were given so far."""
        return self._entries

    def rename(self, ident: str) -> None:
        """Give the numbers to a model with this identifier: one may be served by other names than its own."""
        old = next((name.removesuffix("_input") for name in self._entries if self._is_input(name)), ident)
        if old == ident:
            return

        def new(text: str) -> str:
            return re.sub(rf"(?<![\w.]){old}_", f"{ident}_", text)

        self._entries = {
            new(name): {
                (new(member) if entry.type == ENUM_VALUE else member): Entry(entry.number, new(entry.type))
                for member, entry in members.items()
            }
            for name, members in self._entries.items()
        }

    def _is_input(self, name: str) -> bool:
        """Whether it is the message of the model's inputs: the names of all others begin as it does."""
        prefix = name.removesuffix("input")
        return name.endswith("_input") and all(other.startswith(prefix) for other in self._entries)

    def number(self, message: str, member: str, type_: str) -> int:
        """The number of a field or value.

        Raises:
            InvalidModel: It has another type, or the lock is complete and does not have it.
        """
        members = self._entries.setdefault(message, {})
        known = members.get(member)
        if known is None:
            if self._complete:
                raise InvalidModel(
                    f"{FILE_NAME} does not have {member} of {message}; `facet models lock NAME` adds it",
                    field=f"{message}.{member}",
                )
            known = members[member] = Entry(self._next(members), type_)
        if known.type != type_:
            raise incompatible(message, member, f"is {type_}, but {known.type} in {FILE_NAME}")
        return known.number

    def retired(self, message: str, used: set[str]) -> Iterator[tuple[str, int]]:
        """Names and numbers of those that a version does not have, by number."""
        members = self._entries.get(message, {}).items()
        numbers = sorted((entry.number, name) for name, entry in members if name not in used)
        return ((name, number) for number, name in numbers)

    def to_json(self) -> str:
        """The content of a lock file."""
        members = {
            name: {member: entry._asdict() for member, entry in fields.items()}
            for name, fields in sorted(self._entries.items())
        }
        return json.dumps({"format": FORMAT, "messages": members}, indent=2) + "\n"

    @classmethod
    def from_json(cls, content: bytes, *, complete: bool = True) -> Self:
        """The lock of a file.

        Raises:
            InvalidModel: It is no lock file, or of another format.
        """
        try:
            values = json.loads(content)
            entries = {
                name: {member: _entry(fields) for member, fields in members.items()}
                for name, members in values["messages"].items()
            }
            if values["format"] != FORMAT:
                raise InvalidModel(f"{FILE_NAME} is of format {values['format']!r}; accepted: {FORMAT}")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidModel(f"{FILE_NAME} is no lock file: {type(error).__name__}") from error
        for name, members in entries.items():
            if len({entry.number for entry in members.values()}) < len(members):
                raise InvalidModel(f"{FILE_NAME} gives a number twice in {name}", field=name)
        return cls(entries, complete=complete)

    @staticmethod
    def _next(members: Mapping[str, Entry]) -> int:
        highest = max((entry.number for entry in members.values()), default=0)
        return next(number for number in count(highest + 1) if number not in _PROTOBUF_OWN)


def entries_of(file: FileDescriptorProto) -> Entries:
    """The fields and values of all messages and enums of a file."""
    messages = {message.name: _fields(message, file.package) for message in file.message_type}
    enums = {
        enum.name: {value.name: Entry(value.number, ENUM_VALUE) for value in enum.value}
        for enum in file.enum_type
    }
    return messages | enums


def _fields(message: DescriptorProto, package: str) -> dict[str, Entry]:
    return {field.name: Entry(field.number, field_type(field, message, package)) for field in message.field}


def _entry(values: Mapping[str, Any]) -> Entry:
    number, type_ = values["number"], values["type"]
    if not isinstance(number, int) or not 1 <= number < 2**29 or not isinstance(type_, str):
        raise ValueError(number)
    return Entry(number, type_)
