"""Reflection, by both names that its protocol has: clients of today ask for v1, older ones for v1alpha."""

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_reflection.v1alpha import reflection, reflection_pb2


class _Pool:
    """A pool of descriptors in which methods are found by their names, too."""

    def __init__(self, files: Iterable[Any]) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        for file in files:
            self._pool.AddSerializedFile(file.SerializeToString())

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever grpc's reflection looks for
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: ANN401, N802 - as protobuf names it
        """The file of a message, a service or a method; raises KeyError."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file


def add_reflection(server: grpc.aio.Server, served: Iterable[Any]) -> None:
    """Let a server tell what it serves.

    Args:
        server: It.
        served: The descriptors of the files of all its other services.
    """
    alpha = _proto(reflection_pb2.DESCRIPTOR)
    # The two are the same but for their names.
    text = text_format.MessageToString(alpha).replace("v1alpha", "v1")
    stable = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    files = [*map(_proto, served), alpha, stable]
    names = [
        ".".join(filter(None, [file.package, service.name])) for file in files for service in file.service
    ]
    servicer = reflection.aio.ReflectionServicer(names, pool=_Pool(files))
    handler: Any = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": handler}
    for file in (alpha, stable):
        name = f"{file.package}.ServerReflection"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))


def _proto(file: Any) -> Any:  # noqa: ANN401 - a FileDescriptor
    made = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(made)
    return made
