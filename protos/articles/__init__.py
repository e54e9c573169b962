"""Three published contracts, whose messages have names that clash: for private pools."""

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet


def descriptor_file(name: str) -> FileDescriptorProto:
    """The descriptor of one of the files here, by its name without `.proto`."""
    path = Path(__file__).parent / f"{name}.binpb"
    [file] = FileDescriptorSet.FromString(path.read_bytes()).file
    return file
