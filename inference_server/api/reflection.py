"""Reflection, by both names that its protocol has: clients of today ask for v1, older ones for v1alpha.

Each file is in a pool with no more than what it imports, for published contracts have messages of the same
names. A symbol that several have is shown as the first of them has it. The files of models are those of this
moment: their pool is made anew when the models have changed, because pools forget nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

from inference_server.api.registry import ModelRegistry
from inference_server.api.typed import TypedService
from inference_server.api.typed_pool import typed_pool


class _Pools:
    """Pools of descriptors, looked through one after the other; methods are found by their names, too."""

    def __init__(self, pools: Sequence[Any]) -> None:
        self._pools = pools

    def FindFileByName(self, name: str) -> Any:  # noqa: ANN401, N802 - as protobuf names it
        """A file; raises KeyError."""
        return self._first("FindFileByName", name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: ANN401, N802
        """The file of a message, a service or a method; raises KeyError."""
        try:
            return self._first("FindFileContainingSymbol", symbol)
        except KeyError:
            return self._first("FindMethodByName", symbol).containing_service.file

    def FindMessageTypeByName(self, name: str) -> Any:  # noqa: ANN401, N802
        """A message; raises KeyError."""
        return self._first("FindMessageTypeByName", name)

    def FindExtensionByNumber(self, message: Any, number: int) -> Any:  # noqa: ANN401, N802
        """An extension; raises KeyError."""
        return message.file.pool.FindExtensionByNumber(message, number)

    def FindAllExtensions(self, message: Any) -> Any:  # noqa: ANN401, N802
        """The extensions of a message."""
        return message.file.pool.FindAllExtensions(message)

    def _first(self, find: str, name: str) -> Any:  # noqa: ANN401
        for pool in self._pools:
            try:
                return getattr(pool, find)(name)
            except KeyError:
                continue
        raise KeyError(name)


class _Servicer(reflection.aio.ReflectionServicer):  # type: ignore[misc]
    """gRPC's own, which asks for pool and names at each request, instead of once."""

    def __init__(self, files: Sequence[FileDescriptorProto], models: ModelRegistry | None) -> None:
        self._files = [_pool_of(file) for file in files]
        self._names = {
            f"{file.package}.{service.name}".lstrip(".") for file in files for service in file.service
        }
        self._models = models
        self._generation = -1

    @property
    def _service_names(self) -> list[str]:
        return sorted(self._names if self._models is None else {*self._names, TypedService.name})

    @property
    def _pool(self) -> _Pools:
        models = self._models
        if models is None:
            return _Pools(self._files)
        if models.generation != self._generation:
            self._generation = models.generation
            self._of_models = typed_pool(models.defaults())
        return _Pools([*self._files, self._of_models])


def add_reflection(server: grpc.aio.Server, served: Iterable[Any], models: ModelRegistry | None) -> None:
    """Let a server tell what it serves.

    Args:
        server: It.
        served: The descriptors of the files of its other services, but for the models' own methods.
        models: Those that are served by methods of their own; None where there are none.
    """
    alpha = _proto(reflection_pb2.DESCRIPTOR)
    # The two are the same but for their names.
    text = text_format.MessageToString(alpha).replace("v1alpha", "v1")
    stable = text_format.Parse(text, FileDescriptorProto())
    servicer = _Servicer([*map(_proto, served), alpha, stable], models)
    handler: Any = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": handler}
    for file in (alpha, stable):
        name = f"{file.package}.ServerReflection"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))


def _proto(file: Any) -> FileDescriptorProto:  # noqa: ANN401 - a FileDescriptor
    made = FileDescriptorProto()
    file.CopyToProto(made)
    return made


def _pool_of(file: FileDescriptorProto) -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool
