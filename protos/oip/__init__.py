"""The Open Inference Protocol: its descriptor, in a descriptor pool of its own.

`make protos` writes a serialized FileDescriptorSet beside the `.proto` file. A process that has stubs of this
package from elsewhere, as tritonclient brings them, can hold both.
"""

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool


@cache
def descriptor() -> Any:  # noqa: ANN401 - a FileDescriptor
    """The file of the protocol."""
    content = files(__name__).joinpath("inference.binpb").read_bytes()
    file = FileDescriptorSet.FromString(content).file[0]
    return DescriptorPool().AddSerializedFile(file.SerializeToString())


@cache
def message_class(name: str) -> Any:  # noqa: ANN401 - classes made at run time, whose fields no stub declares
    """The class of a message, by its name without the package."""
    return message_factory.GetMessageClass(descriptor().message_types_by_name[name])
