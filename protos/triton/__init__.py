"""Triton's configuration of a model: its message, in a descriptor pool of its own.

`make protos` writes a serialized FileDescriptorSet beside the `.proto` file. Its names are also those of the
Open Inference Protocol, which cannot be in one pool with it.
"""

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool


@cache
def model_config_class() -> Any:  # noqa: ANN401 - a class made at run time, whose fields no stub declares
    """The class of `inference.ModelConfig`."""
    content = files(__name__).joinpath("model_config.binpb").read_bytes()
    file = FileDescriptorSet.FromString(content).file[0]
    described = DescriptorPool().AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(described.message_types_by_name["ModelConfig"])
