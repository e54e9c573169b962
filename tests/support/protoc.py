"""Files of protobuf as protoc makes them of the text that the server renders."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

from inference_server.models.proto_text import render


def compiled(*files: FileDescriptorProto, folder: Path) -> FileDescriptorProto:
    """What protoc makes of the text of the last file; those before it are what it imports."""
    made = folder / "files.pb"
    _run(files, folder, f"--descriptor_set_out={made}")
    return FileDescriptorSet.FromString(made.read_bytes()).file[-1]


def stub(file: FileDescriptorProto, folder: Path) -> Any:  # noqa: ANN401 - a module
    """The module that protoc makes of the text of a file, whose name no other file may have."""
    _run((file,), folder, f"--python_out={folder}")
    spec = spec_from_file_location("stub", folder / file.name.replace(".proto", "_pb2.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(files: tuple[FileDescriptorProto, ...], folder: Path, output: str) -> None:
    for file in files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(file))
    assert protoc.main(["protoc", f"-I{folder}", output, str(folder / files[-1].name)]) == 0
