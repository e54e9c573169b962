"""The text of a model's messages: protoc makes the descriptor of it that the server has."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from pydantic import BaseModel

from inference_server.api.typed_pool import FILE, typed_pool
from inference_server.models.lock import ENUM_VALUE, Entry, Lock
from inference_server.models.proto_text import field_type, render
from inference_server.models.schema import Schema
from protos import infer_pb2, models_pb2
from tests.support.models import version
from tests.support.protoc import compiled
from tests.support.schemas import Colour, Everything, Exact, Point, Tree, card, one, schema_of


def test_the_text_of_a_model_is_what_an_author_would_write() -> None:
    """Input and output first, then what they have."""

    class Picture(BaseModel):
        data: bytes
        max_faces: int | None = None

    class Faces(BaseModel):
        at: list[Point]
        light: Literal["day", "night"]
        scores: dict[str, float]

    assert (
        render(Schema("find-faces", Picture, Faces).descriptor)
        == """\
syntax = "proto3";

package model_grpc_service;

message find_faces_input {
  bytes data = 1;
  optional int64 max_faces = 2;
}

message find_faces_output {
  repeated find_faces_Point at = 1;
  find_faces_output_light light = 2;
  map<string, float> scores = 3;
}

message find_faces_Point {
  float x = 1;
  optional float y = 2;
}

enum find_faces_output_light {
  find_faces_output_light_UNSPECIFIED = 0;
  find_faces_output_light_day = 1;
  find_faces_output_light_night = 2;
}
"""
    )


@pytest.mark.parametrize(("taken", "given"), [(Everything, Point), (Tree, Tree), (Point, one(Colour))])
def test_protoc_makes_the_same_descriptor_of_the_text(
    taken: type[BaseModel], given: type[BaseModel], tmp_path: Path
) -> None:
    """Names for JSON, entries of maps, and presence included."""
    file = schema_of(taken, given).descriptor
    assert compiled(file, folder=tmp_path) == file


@pytest.mark.parametrize("name", ["a_b", "aB", "A", "a_", "a__b", "a_1", "reserved", "message", "import"])
def test_protoc_names_fields_in_json_and_entries_of_maps_as_the_server_does(
    name: str, tmp_path: Path
) -> None:
    """Also where they are called like words of its own."""
    model: Any = type(
        "In", (BaseModel,), {"__annotations__": {name: dict[str, int], f"{name}_other": int | None}}
    )
    file = schema_of(model).descriptor
    assert compiled(file, folder=tmp_path) == file


def test_protoc_reserves_what_a_version_has_no_more(tmp_path: Path) -> None:
    """Fields and values by their names and numbers."""
    lock = Lock(
        {
            "old_input": {
                "gone": Entry(1, "string"),
                "member": Entry(2, "old_Colour"),
                "went": Entry(7, "bool"),
            },
            "old_Colour": {"old_Colour_GREEN": Entry(5, ENUM_VALUE)},
        }
    )
    file = Schema("old", one(Colour), one(int), lock).descriptor
    assert compiled(file, folder=tmp_path) == file
    assert [*file.message_type[0].reserved_name] == ["gone", "went"]
    assert [*file.enum_type[0].reserved_name] == ["old_Colour_GREEN"]


def test_protoc_reserves_the_same_ranges_of_numbers(tmp_path: Path) -> None:
    """The last one belongs to them in an enum, and not in a message."""
    file = FileDescriptorProto(name="ranges.proto", syntax="proto3")
    message, enum = file.message_type.add(name="Message"), file.enum_type.add(name="Enum")
    enum.value.add(name="NONE", number=0)
    for first, last in ((2, 2), (4, 9)):
        message.reserved_range.add(start=first, end=last + 1)
        enum.reserved_range.add(start=first, end=last)
    assert compiled(file, folder=tmp_path) == file


def test_protoc_makes_the_same_service_of_the_text_of_what_reflection_tells(tmp_path: Path) -> None:
    """With imports, streams, nested messages and a oneof."""
    schema = Schema("told", Everything, Tree)
    served = _files(typed_pool([replace(version("told"), card=card(schema))]).FindFileByName(FILE))
    assert len(served) == 4
    for last in range(4):
        made = compiled(*served[: last + 1], folder=tmp_path)
        assert _without_json_names(made) == _without_json_names(served[last])


@pytest.mark.parametrize("module", [models_pb2, infer_pb2])
def test_protoc_makes_the_same_descriptor_of_the_text_of_a_file_without_a_package(
    module: Any,  # noqa: ANN401 - a module
    tmp_path: Path,
) -> None:
    """As the server's own contracts are."""
    file = FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    assert _without_json_names(compiled(file, folder=tmp_path)) == file


@pytest.mark.parametrize(
    ("annotation", "written"),
    [
        (bool, "bool"),
        (int, "int64"),
        (float, "float"),
        (Exact, "double"),
        (str, "string"),
        (bytes, "bytes"),
        (Colour, "text_Colour"),
        (Literal["a"], "text_input_member"),
        (Point, "text_Point"),
        (int | None, "optional int64"),
        (Point | None, "optional text_Point"),
        (list[Exact], "repeated double"),
        (tuple[bytes, ...] | None, "repeated bytes"),
        (list[Point], "repeated text_Point"),
        (dict[int, Colour], "map<int64, text_Colour>"),
    ],
)
def test_a_type_is_written_as_protobuf_has_it(annotation: object, written: str) -> None:
    """A lock has them like this, too."""
    [message, *_] = Schema("text", one(annotation), one(int)).descriptor.message_type
    assert field_type(message.field[0], message, "model_grpc_service") == written


def _files(file: Any) -> list[FileDescriptorProto]:  # noqa: ANN401 - a FileDescriptor
    """A file, last, and those that it imports."""
    made = {one.name: one for needed in file.dependencies for one in _files(needed)}
    copy = FileDescriptorProto()
    file.CopyToProto(copy)
    return [*made.values(), copy]


def _without_json_names(file: FileDescriptorProto) -> FileDescriptorProto:
    """They are not in all descriptors, and follow from the names."""
    messages = [*file.message_type]
    for message in messages:
        messages.extend(message.nested_type)
        for field in message.field:
            field.ClearField("json_name")
    return file
