"""Three contracts that were published as articles: their descriptors, for descriptor pools of their own.

`make protos` writes a serialized FileDescriptorSet beside each `.proto` file. Code that registers itself in
protobuf's default pool is not made of them, because names of their messages clash.
"""

from functools import cache
from importlib.resources import files
from typing import Literal

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

Contract = Literal["classifier", "pipeline", "many_models"]


def descriptor(contract: Contract) -> FileDescriptorProto:
    """The descriptor of a contract's file, as a copy of the caller's own."""
    content = files(__name__).joinpath(f"{contract}.binpb").read_bytes()
    return FileDescriptorSet.FromString(content).file[0]


@cache
def message_class(contract: Contract, name: str) -> type[Message]:
    """The class of a contract's message, by its name without the package."""
    package = descriptor(contract).package
    full_name = f"{package}.{name}" if package else name
    return message_factory.GetMessageClass(_pool(contract).FindMessageTypeByName(full_name))


@cache
def _pool(contract: Contract) -> DescriptorPool:
    pool = DescriptorPool()
    pool.Add(descriptor(contract))
    return pool
