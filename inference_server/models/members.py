"""The members of a pydantic class as protobuf can have them: a type of each, single, repeated or in a map."""

import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.message import Message
from pydantic import BaseModel, PydanticUndefinedAnnotation, PydanticUserError, RootModel
from pydantic.fields import FieldInfo

from facet_serving import Double
from utils.errors import InvalidModel

ACCEPTED = (
    "bool, int, float, str, bytes, an Enum, a Literal of texts, a BaseModel, lists of these, dict[str, …] "
    "and dict[int, …] of these, and each of them `| None`"
)

_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Scalar(Enum):
    """The scalar types of protobuf that are used, with their numbers in descriptors."""

    BOOL = FieldDescriptorProto.TYPE_BOOL
    INT64 = FieldDescriptorProto.TYPE_INT64
    FLOAT = FieldDescriptorProto.TYPE_FLOAT
    DOUBLE = FieldDescriptorProto.TYPE_DOUBLE
    STRING = FieldDescriptorProto.TYPE_STRING
    BYTES = FieldDescriptorProto.TYPE_BYTES


class Container(Enum):
    """How many values a member has."""

    SINGLE = "single"
    LIST = "list"
    MAP = "map"


@dataclass(frozen=True)
class Choices:
    """What becomes an enum.

    Attributes:
        name: Of the Enum class; empty for a Literal, which has none.
        values: What Python has for each, by what it is called.
    """

    name: str
    values: Mapping[str, Any]


class NoChoice:
    """What stands for a number of an enum that is none of the model's values. It equals none of them.

    Args:
        text: Says which it is.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


Kind = Scalar | Choices | type[BaseModel]


@dataclass(frozen=True)
class Member:
    """One field of a class.

    Attributes:
        name: In the class and in the message.
        kind: Of its values.
        container: How many there are.
        key: Of a map.
        nullable: It may be None.
        required: It has no default.
    """

    name: str
    kind: Kind
    container: Container = Container.SINGLE
    key: Scalar = Scalar.STRING
    nullable: bool = False
    required: bool = True

    @property
    def has_presence(self) -> bool:
        """Whether its message tells a value that is not there from one that is 0."""
        return self.container is Container.SINGLE and (self.nullable or not self.required)


def members_of(model: type[BaseModel]) -> list[Member]:
    """The members of a class, in their order.

    Raises:
        InvalidModel: One is of a type, or has a name, that a message cannot have, and names it; or pydantic
            cannot complete the class.
    """
    if issubclass(model, RootModel):
        raise InvalidModel(f"{model.__name__} is a RootModel; accepted: a BaseModel with fields")
    try:
        model.model_rebuild()
    except (PydanticUndefinedAnnotation, PydanticUserError) as error:
        raise InvalidModel(f"{model.__name__}: {error.message}", field=model.__name__) from error
    return [_member(f"{model.__name__}.{name}", name, info) for name, info in model.model_fields.items()]


def only_bytes(members: Sequence[Member]) -> str | None:
    """The name of a single member of bytes beside which nothing is required; None where there is none."""
    names = [m.name for m in members if m.kind is Scalar.BYTES and m.container is Container.SINGLE]
    required = {member.name for member in members if member.required}
    return names[0] if len(names) == 1 and required <= {*names} else None


_SCALARS = {
    bool: Scalar.BOOL,
    int: Scalar.INT64,
    float: Scalar.FLOAT,
    str: Scalar.STRING,
    bytes: Scalar.BYTES,
}


class _Unsupported(Exception):
    """A type that no message can have."""


def _member(path: str, name: str, info: FieldInfo) -> Member:
    if not _FIELD_NAME.fullmatch(name):
        raise InvalidModel(f"{path}: a field's name has letters of ASCII, digits and `_`", field=path)
    if hasattr(Message, name):
        raise InvalidModel(f"{path}: the messages of protobuf have a method of that name", field=path)
    # What pydantic took from around the type: it matters inside, too.
    annotation = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
    try:
        return replace(_classify(name, annotation), required=info.is_required())
    except _Unsupported as error:
        raise InvalidModel(f"{path} is of type {error}; accepted: {ACCEPTED}", field=path) from error


def _classify(name: str, annotation: Any) -> Member:  # noqa: ANN401 - any type at all
    inner, metadata = _stripped(annotation)
    origin, arguments = get_origin(inner), get_args(inner)
    if origin in {Union, types.UnionType} and type(None) in arguments and len(arguments) == 2:  # noqa: PLR2004
        some = next(one for one in arguments if one is not type(None))
        return replace(_classify(name, Annotated[(some, *metadata)] if metadata else some), nullable=True)
    if not arguments:  # typing.List has an origin, too
        return Member(name, _kind(annotation))
    if origin in {list, Sequence} or (origin is tuple and arguments[1:] == (...,)):
        return Member(name, _kind(arguments[0]), Container.LIST)
    if origin in {dict, Mapping}:
        key = _SCALARS.get(_stripped(arguments[0])[0])
        if key not in {Scalar.STRING, Scalar.INT64}:
            raise _Unsupported(_named(inner))
        return Member(name, _kind(arguments[1]), Container.MAP, key)
    return Member(name, _kind(annotation))


def _kind(annotation: Any) -> Kind:  # noqa: ANN401 - any type at all
    inner, metadata = _stripped(annotation)
    if inner is float and Double in metadata:
        return Scalar.DOUBLE
    if isinstance(inner, type) and inner in _SCALARS:
        return _SCALARS[inner]
    if get_origin(inner) is Literal and all(isinstance(value, str) for value in get_args(inner)):
        return Choices("", {value: value for value in get_args(inner)})
    if isinstance(inner, type) and get_origin(inner) is None:
        if issubclass(inner, BaseModel) and not issubclass(inner, RootModel):
            return inner
        if issubclass(inner, Enum):
            return Choices(inner.__name__, {one.name: one for one in inner})
    raise _Unsupported(_named(inner))


def _stripped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:  # noqa: ANN401 - any type at all
    """A type without `Annotated`, and what that said."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return inner, tuple(metadata)
    return annotation, ()


def _named(annotation: Any) -> str:  # noqa: ANN401 - any type at all
    return getattr(annotation, "__name__", "") if isinstance(annotation, type) else str(annotation)
