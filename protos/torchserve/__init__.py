"""TorchServe's two contracts: their messages, in a descriptor pool of their own.

`make protos` writes a serialized FileDescriptorSet beside each `.proto` file. Nothing of them is in
protobuf's default pool, where a process may have stubs that it has generated of TorchServe's own files.
"""

from functools import cache
from importlib.resources import files
from typing import Any, Literal

from google.protobuf import any_pb2, empty_pb2, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import status_pb2

Contract = Literal["inference", "management"]

_IMPORTED = (any_pb2, empty_pb2, status_pb2)


def service_name(contract: Contract) -> str:
    """The full name of a contract's service."""
    return f"org.pytorch.serve.grpc.{contract}.{contract.title()}APIsService"


@cache
def message_class(contract: Contract, name: str) -> Any:  # noqa: ANN401 - a class made at run time
    """The class of a contract's message, by its name without the package."""
    found = _pool().FindMessageTypeByName(f"org.pytorch.serve.grpc.{contract}.{name}")
    return message_factory.GetMessageClass(found)


@cache
def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    for imported in _IMPORTED:
        pool.AddSerializedFile(imported.DESCRIPTOR.serialized_pb)
    for contract in ("inference", "management"):
        content = files(__name__).joinpath(f"{contract}.binpb").read_bytes()
        for file in FileDescriptorSet.FromString(content).file:
            pool.Add(file)
    return pool
