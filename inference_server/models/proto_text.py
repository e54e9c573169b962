"""A file descriptor as the text of a `.proto` file, from which protoc makes the same descriptor."""

from collections.abc import Iterable, Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

_NAMED = {FieldDescriptorProto.TYPE_MESSAGE, FieldDescriptorProto.TYPE_ENUM}


def render(file: FileDescriptorProto) -> str:
    """The text of a proto3 file without options, extensions, groups and comments."""
    lines = ['syntax = "proto3";']
    if file.package:
        lines += ["", f"package {file.package};"]
    if file.dependency:
        lines += ["", *(f'import "{name}";' for name in file.dependency)]
    for service in file.service:
        lines += ["", *_service(service, file.package)]
    for message in file.message_type:
        lines += ["", *_message(message, file.package)]
    for enum in file.enum_type:
        lines += ["", *_enum(enum)]
    return "\n".join(lines) + "\n"


def field_type(field: FieldDescriptorProto, message: DescriptorProto, package: str) -> str:
    """The type of a field as it is written, with `repeated` or `optional`.

    Args:
        field: It.
        message: The message that has it.
        package: Whose own names are written without it.
    """
    entry = _map_entry(field, message)
    if entry is not None:
        key, value = (field_type(part, entry, package) for part in entry.field)
        return f"map<{key}, {value}>"
    if field.type in _NAMED:
        name = field.type_name.removeprefix(f".{package}." if package else ".")
    else:
        name = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {name}"
    return f"optional {name}" if field.proto3_optional else name


def _map_entry(field: FieldDescriptorProto, message: DescriptorProto) -> DescriptorProto | None:
    if field.type != FieldDescriptorProto.TYPE_MESSAGE:
        return None
    name = field.type_name.rpartition(".")[2]
    return next((one for one in message.nested_type if one.name == name and one.options.map_entry), None)


def _message(message: DescriptorProto, package: str) -> Iterator[str]:
    yield f"message {message.name} {{"
    for nested in message.nested_type:
        if not nested.options.map_entry:
            yield from _indented(_message(nested, package))
    for enum in message.enum_type:
        yield from _indented(_enum(enum))
    # Fields of a oneof that somebody wrote stand together in it; `optional` makes one of its own for each.
    oneofs = set()
    for field in message.field:
        if not field.HasField("oneof_index") or field.proto3_optional:
            yield f"  {_field(field, message, package)}"
        elif field.oneof_index not in oneofs:
            oneofs.add(field.oneof_index)
            yield from _indented(_oneof(field.oneof_index, message, package))
    for reserved in message.reserved_range:
        last = reserved.end - 1
        yield f"  reserved {reserved.start}{f' to {last}' if last > reserved.start else ''};"
    if message.reserved_name:
        names = ", ".join(f'"{name}"' for name in message.reserved_name)
        yield f"  reserved {names};"
    yield "}"


def _oneof(index: int, message: DescriptorProto, package: str) -> Iterator[str]:
    yield f"oneof {message.oneof_decl[index].name} {{"
    for field in message.field:
        if field.HasField("oneof_index") and field.oneof_index == index:
            yield f"  {_field(field, message, package)}"
    yield "}"


def _field(field: FieldDescriptorProto, message: DescriptorProto, package: str) -> str:
    return f"{field_type(field, message, package)} {field.name} = {field.number};"


def _enum(enum: EnumDescriptorProto) -> Iterator[str]:
    yield f"enum {enum.name} {{"
    for value in enum.value:
        yield f"  {value.name} = {value.number};"
    for reserved in enum.reserved_range:  # whose end is the last number here
        last = reserved.end
        yield f"  reserved {reserved.start}{f' to {last}' if last > reserved.start else ''};"
    if enum.reserved_name:
        names = ", ".join(f'"{name}"' for name in enum.reserved_name)
        yield f"  reserved {names};"
    yield "}"


def _service(service: ServiceDescriptorProto, package: str) -> Iterator[str]:
    yield f"service {service.name} {{"
    for method in service.method:
        yield f"  {_method(method, package)}"
    yield "}"


def _method(method: MethodDescriptorProto, package: str) -> str:
    prefix = f".{package}." if package else "."
    request, answer = (
        f"{'stream ' if streams else ''}{name.removeprefix(prefix)}"
        for name, streams in (
            (method.input_type, method.client_streaming),
            (method.output_type, method.server_streaming),
        )
    )
    return f"rpc {method.name} ({request}) returns ({answer});"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield f"  {line}"
