"""Contracts whose names may be in a process a second time: each file in a descriptor pool of its own.

`make protos` writes a serialized FileDescriptorSet beside each `.proto` file of a folder here. Code that
registers itself in protobuf's default pool is not made of them: there would be room for one file that has
a name, and a process may have stubs of the same contract from elsewhere.
"""

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool


def file_proto(package: str, name: str) -> FileDescriptorProto:
    """What a file declares, as a copy of the caller's own.

    Args:
        package: Of Python, that holds it.
        name: Of the file, without its ending.
    """
    return FileDescriptorSet.FromString(files(package).joinpath(f"{name}.binpb").read_bytes()).file[0]


@cache
def file_descriptor(package: str, name: str, *imported: Any) -> Any:  # noqa: ANN401 - protobuf's stubs lack it
    """The descriptor of a file, in a new pool.

    Args:
        package: As of `file_proto`.
        name: As of `file_proto`.
        *imported: The descriptors of what it imports, each after what that imports.
    """
    pool = DescriptorPool()
    for descriptor in imported:
        pool.AddSerializedFile(descriptor.serialized_pb)
    return pool.AddSerializedFile(file_proto(package, name).SerializeToString())


@cache
def message_class(descriptor: Any, name: str) -> Any:  # noqa: ANN401 - a class made at run time
    """The class of a file's message, by its name without the package."""
    return message_factory.GetMessageClass(descriptor.message_types_by_name[name])
