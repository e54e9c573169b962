"""TorchServe's two contracts: their messages, in descriptor pools of their own."""

from typing import Any, Literal

from google.protobuf import any_pb2, empty_pb2
from google.rpc import status_pb2

from protos import private_pool

Contract = Literal["inference", "management"]

_IMPORTED = (any_pb2.DESCRIPTOR, empty_pb2.DESCRIPTOR, status_pb2.DESCRIPTOR)


def service_name(contract: Contract) -> str:
    """The full name of a contract's service."""
    return f"org.pytorch.serve.grpc.{contract}.{contract.title()}APIsService"


def message_class(contract: Contract, name: str) -> Any:  # noqa: ANN401 - a class made at run time
    """The class of a contract's message, by its name without the package."""
    return private_pool.message_class(private_pool.file_descriptor(__name__, contract, *_IMPORTED), name)
