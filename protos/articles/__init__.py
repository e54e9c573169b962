"""Three contracts that were published as articles: their descriptors, in descriptor pools of their own."""

from typing import Any, Literal

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from protos import private_pool

Contract = Literal["classifier", "pipeline", "many_models"]


def descriptor(contract: Contract) -> FileDescriptorProto:
    """The descriptor of a contract's file, as a copy of the caller's own."""
    return private_pool.file_proto(__name__, contract)


def message_class(contract: Contract, name: str) -> Any:  # noqa: ANN401 - a class made at run time
    """The class of a contract's message, by its name without the package."""
    return private_pool.message_class(private_pool.file_descriptor(__name__, contract), name)
