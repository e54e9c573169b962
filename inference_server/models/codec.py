"""Messages to the values of pydantic objects, and objects to messages: compiled once for each message.

The values of a message go to pydantic, which judges them; nothing is copied on the way but from and into
the message itself.
"""

import struct
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

from google.protobuf.message import Message
from pydantic import BaseModel

from inference_server.models.descriptors import UNSPECIFIED, Messages
from inference_server.models.members import Choices, Container, Member, NoChoice, Scalar

Read = Callable[[Message], dict[str, Any]]
Write = Callable[[BaseModel, Message], None]
_Convert = Callable[[Any], Any]


class Codec:
    """Reads and writes all messages of a model, by their names."""

    def __init__(self, messages: Messages) -> None:
        self._read: dict[str, Read] = {}
        self._write: dict[str, Write] = {}
        self._to_python = {
            name: {0: NoChoice(UNSPECIFIED)} | {number: python for python, number in values}
            for name, values in messages.values.items()
        }
        self._to_number = {name: _numbers(values) for name, values in messages.values.items()}
        for name, members in messages.members.items():
            self._read[name] = self._reader(members)
            self._write[name] = self._writer(members)

    def read(self, name: str, message: Message) -> dict[str, Any]:
        """The values of a message; what it does not have, and what has a default, is left out."""
        return self._read[name](message)

    def write(self, name: str, value: BaseModel, message: Message) -> None:
        """Fill a new message with the values of an object.

        Raises:
            ValueError: A number is too large for its field; names it.
        """
        self._write[name](value, message)

    # --- reading ---

    def _reader(self, members: list[tuple[Member, str]]) -> Read:
        always = [member.name for member, _ in members if _is_plain(member)]
        others = [self._getter(member, named) for member, named in members if not _is_plain(member)]

        def read(message: Message) -> dict[str, Any]:
            values = {name: getattr(message, name) for name in always}
            for get in others:
                get(message, values)
            return values

        return read

    def _getter(self, member: Member, named: str) -> Callable[[Message, dict[str, Any]], None]:
        convert = self._to_value(member, named)
        name, required = member.name, member.required
        if member.container is Container.SINGLE:
            is_message = isinstance(member.kind, type)
            asks = is_message or member.has_presence
            absent = {name: None} if required and member.nullable else {}

            def get_single(message: Message, values: dict[str, Any]) -> None:
                if asks and not message.HasField(name):
                    values.update(absent)
                else:
                    values[name] = convert(getattr(message, name))

            # An enum that has a default, and says 0, says nothing.
            return _unless_unspecified(get_single, name, absent) if self._skips_zero(member) else get_single

        collect = _collector(member, convert)

        def get_many(message: Message, values: dict[str, Any]) -> None:
            found = getattr(message, name)
            if found or required:
                values[name] = collect(found)

        return get_many

    @staticmethod
    def _skips_zero(member: Member) -> bool:
        return isinstance(member.kind, Choices) and member.has_presence

    def _to_value(self, member: Member, named: str) -> _Convert:
        if isinstance(member.kind, Scalar):
            return _same
        if isinstance(member.kind, Choices):
            known = self._to_python[named]
            # pydantic refuses what is none of the values, and says which there are.
            return lambda number: known[number] if number in known else NoChoice(f"number {number}")
        return lambda message: self._read[named](message)  # noqa: PLW0108 - it may not be compiled yet

    # --- writing ---

    def _writer(self, members: list[tuple[Member, str]]) -> Write:
        setters = [(attrgetter(member.name), self._setter(member, named)) for member, named in members]

        def write(value: BaseModel, message: Message) -> None:
            for get, put in setters:
                found = get(value)
                if found is not None:
                    put(message, found)

        return write

    def _setter(self, member: Member, named: str) -> Callable[[Message, Any], None]:
        if isinstance(member.kind, type):
            return self._message_setter(member, named)
        name = member.name
        convert: _Convert = _same
        if isinstance(member.kind, Choices):
            convert = self._to_number[named].__getitem__
        elif member.kind is Scalar.FLOAT:
            convert = _float_check(name, single=member.container is Container.SINGLE)
        match member.container:
            case Container.SINGLE:
                return lambda message, value: setattr(message, name, convert(value))
            case Container.LIST if isinstance(member.kind, Choices):
                return lambda message, values: getattr(message, name).extend(map(convert, values))
            case Container.LIST:
                return lambda message, values: getattr(message, name).extend(convert(values))
            case Container.MAP if isinstance(member.kind, Choices):
                return lambda message, values: getattr(message, name).update(
                    {key: convert(value) for key, value in values.items()}
                )
            case Container.MAP:
                return lambda message, values: getattr(message, name).update(
                    dict(zip(values, convert(values.values()), strict=True))
                )

    def _message_setter(self, member: Member, named: str) -> Callable[[Message, Any], None]:
        name = member.name

        def put_single(message: Message, value: BaseModel) -> None:
            inner = getattr(message, name)
            inner.SetInParent()  # an empty one is there, too
            self._write[named](value, inner)

        def put_list(message: Message, values: Iterable[BaseModel]) -> None:
            container = getattr(message, name)
            for value in values:
                self._write[named](value, container.add())

        def put_map(message: Message, values: dict[Any, BaseModel]) -> None:
            container = getattr(message, name)
            for key, value in values.items():
                self._write[named](value, container[key])  # which makes it

        setters: dict[Container, Callable[[Message, Any], None]] = {
            Container.SINGLE: put_single,
            Container.LIST: put_list,
            Container.MAP: put_map,
        }
        return setters[member.container]


def _is_plain(member: Member) -> bool:
    """Whether its value is always there, and pydantic takes it as the message gives it."""
    return (
        isinstance(member.kind, Scalar) and member.container is Container.SINGLE and not member.has_presence
    )


def _same(value: Any) -> Any:  # noqa: ANN401 - any value
    return value


def _collector(member: Member, convert: _Convert) -> _Convert:
    if member.container is Container.LIST:
        return list if convert is _same else lambda found: [convert(one) for one in found]
    return dict if convert is _same else lambda found: {key: convert(one) for key, one in found.items()}


def _unless_unspecified(
    get: Callable[[Message, dict[str, Any]], None], name: str, absent: dict[str, None]
) -> Callable[[Message, dict[str, Any]], None]:
    def get_specified(message: Message, values: dict[str, Any]) -> None:
        if getattr(message, name):
            get(message, values)
        else:
            values.update(absent)

    return get_specified


def _numbers(values: list[tuple[object, int]]) -> dict[object, int]:
    """Numbers by members of an Enum and, as some classes are configured, by their values."""
    return {getattr(python, "value", python): number for python, number in values} | dict(values)


def _float_check(name: str, *, single: bool) -> _Convert:
    """Refuses numbers that 32 bits cannot hold, which protobuf would make infinite."""

    def check(values: Any) -> Any:  # noqa: ANN401 - a number, or several
        numbers = (values,) if single else values
        try:
            struct.pack(f"<{len(numbers)}f", *numbers)  # without `<` it would make them infinite, too
        except OverflowError as error:
            raise ValueError(
                f"{name} has a number that is too large for 32 bits; see facet_serving.Double"
            ) from error
        return values

    return check
