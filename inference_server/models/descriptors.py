"""The protobuf messages of a model, described as protoc would describe them, from its pydantic classes."""

from collections import deque
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from pydantic import BaseModel

from inference_server.catalogue.names import identifier
from inference_server.models.lock import ENUM_VALUE, Lock
from inference_server.models.members import Choices, Container, Member, Scalar, members_of
from inference_server.models.proto_text import field_type
from utils.errors import InvalidModel

PACKAGE = "model_grpc_service"
"""Of the messages of all models."""

UNSPECIFIED = "UNSPECIFIED"
"""The end of the name of each enum's value 0, which means that there is none."""


@dataclass(frozen=True)
class Messages:
    """The messages of a model.

    Attributes:
        file: `facet/models/IDENTIFIER.proto`, in the package PACKAGE.
        members: By a message's name, those of its class, each with its own message's or enum's name, if any.
        values: By an enum's name, the numbers of what Python has.
    """

    file: FileDescriptorProto
    members: dict[str, list[tuple[Member, str]]]
    values: dict[str, list[tuple[object, int]]]


def describe(name: str, model_input: type[BaseModel], model_output: type[BaseModel], lock: Lock) -> Messages:
    """The messages IDENTIFIER_input and IDENTIFIER_output of a model, and those that they have as members.

    Args:
        name: The model's.
        model_input: The class of an input.
        model_output: The class of an output; it may be the same.
        lock: Gives the numbers.

    Raises:
        InvalidModel: A field is of a type, or has a name, that no message can have, or is not in the lock as
            it is here; two classes have one name.
    """
    return _Builder(identifier(name), lock).build(model_input, model_output)


class _Builder:
    def __init__(self, ident: str, lock: Lock) -> None:
        self._ident = ident
        self._lock = lock
        self._file = FileDescriptorProto(name=f"facet/models/{ident}.proto", package=PACKAGE, syntax="proto3")
        self._members: dict[str, list[tuple[Member, str]]] = {}
        self._values: dict[str, list[tuple[object, int]]] = {}
        self._names: dict[str, object] = {}
        self._waiting: deque[tuple[str, type[BaseModel]]] = deque()

    def build(self, model_input: type[BaseModel], model_output: type[BaseModel]) -> Messages:
        self._reserve(f"{self._ident}_item", None)  # of the model's streams
        self._take(f"{self._ident}_input", model_input)
        self._take(f"{self._ident}_output", model_output)
        while self._waiting:
            self._add_message(*self._waiting.popleft())
        return Messages(self._file, self._members, self._values)

    def _take(self, name: str, model: type[BaseModel]) -> None:
        self._reserve(name, model)
        self._waiting.append((name, model))

    def _reserve(self, name: str, owner: object) -> None:
        if name in self._names:
            raise InvalidModel(f"two types of the model would be called {name} in protobuf", field=name)
        self._names[name] = owner

    def _add_message(self, name: str, model: type[BaseModel]) -> None:
        message = self._file.message_type.add(name=name)
        members = members_of(model)
        self._members[name] = [(member, self._add_field(message, member)) for member in members]
        json_names = [field.json_name for field in message.field]
        for field in message.field:
            if json_names.count(field.json_name) > 1:
                raise InvalidModel(
                    f"two fields of {model.__name__} are called {field.json_name} in the JSON of protobuf",
                    field=f"{name}.{field.name}",
                )
        # Each `optional` has a oneof of its own.
        for field in message.field:
            if field.proto3_optional:
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field.name}")
        for retired, number in self._lock.retired(name, {member.name for member in members}):
            message.reserved_name.append(retired)
            message.reserved_range.add(start=number, end=number + 1)

    def _add_field(self, message: DescriptorProto, member: Member) -> str:
        """Describe a member; gives the name of its message or enum, if it has one."""
        single = member.container is Container.SINGLE
        field = message.field.add(
            name=member.name,
            json_name=_camel(member.name),
            label=FieldDescriptorProto.LABEL_OPTIONAL if single else FieldDescriptorProto.LABEL_REPEATED,
        )
        if member.has_presence:
            field.proto3_optional = True
        if member.container is Container.MAP:
            named = self._add_map(message, field, member)
        else:
            named = self._set_type(field, member, message.name)
        field.number = self._lock.number(message.name, member.name, field_type(field, message, PACKAGE))
        return named

    def _add_map(self, message: DescriptorProto, field: FieldDescriptorProto, member: Member) -> str:
        camel = _camel(member.name)
        entry = message.nested_type.add(name=f"{camel[0].upper()}{camel[1:]}Entry")
        entry.options.map_entry = True
        optional = FieldDescriptorProto.LABEL_OPTIONAL
        key = entry.field.add(name="key", json_name="key", number=1, label=optional)
        value = entry.field.add(name="value", json_name="value", number=2, label=optional)
        key.type = member.key.value
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{message.name}.{entry.name}"
        return self._set_type(value, member, message.name)

    def _set_type(self, field: FieldDescriptorProto, member: Member, message: str) -> str:
        kind = member.kind
        if isinstance(kind, Scalar):
            field.type = kind.value
            return ""
        if isinstance(kind, Choices):
            # Camel case: a field `sort` with a value `order` beside a field `sort_order` is no clash.
            name = self._enum(kind, f"{message}_{_camel(member.name)}")
            field.type = FieldDescriptorProto.TYPE_ENUM
        else:
            name = self._message_name(kind)
            field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{name}"
        return name

    def _message_name(self, model: type[BaseModel]) -> str:
        known = next((name for name, owner in self._names.items() if owner is model), None)
        if known is not None:
            return known
        name = f"{self._ident}_{identifier(model.__name__)}"
        self._take(name, model)
        return name

    def _enum(self, choices: Choices, literal_name: str) -> str:
        name = f"{self._ident}_{identifier(choices.name)}" if choices.name else literal_name
        if self._names.get(name) == choices:
            return name
        self._reserve(name, choices)
        enum = self._file.enum_type.add(name=name)
        enum.value.add(name=f"{name}_{UNSPECIFIED}", number=0)
        self._values[name] = [
            (python, self._add_value(enum, text)) for text, python in choices.values.items()
        ]
        for retired, number in self._lock.retired(name, {value.name for value in enum.value}):
            enum.reserved_name.append(retired)
            enum.reserved_range.add(start=number, end=number)
        return name

    def _add_value(self, enum: EnumDescriptorProto, text: str) -> int:
        name = f"{enum.name}_{identifier(f'v{text}')[1:]}"  # which may begin with a digit, or be empty
        if _short(name, enum) in {_short(value.name, enum) for value in enum.value}:
            raise InvalidModel(
                f"two values of {enum.name} would be called {name} in protobuf", field=enum.name
            )
        number = self._lock.number(enum.name, name, ENUM_VALUE)
        enum.value.add(name=name, number=number)
        return number


def _short(value: str, enum: EnumDescriptorProto) -> str:
    """What some languages call a value of an enum: protoc refuses two that would be called the same."""
    return "".join(map(str.capitalize, value.removeprefix(enum.name).split("_")))


def _camel(name: str) -> str:
    """A field's name in the JSON of protobuf, as protoc makes it: `upper_left` is `upperLeft`."""
    first, *others = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in others)
