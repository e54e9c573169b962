"""A client that is compiled from the `.proto` files of `facet models protos`, in a process of its own.

`python -P compiled_client.py PROTOS ADDRESS NAME [TEXTPROTO...]` generates stubs of the files below
PROTOS, calls NAME_predict_stream with these inputs and NAME_predict with each of them, and prints the answers
as JSON.
"""

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import text_format
from google.protobuf.json_format import MessageToDict
from grpc_tools import protoc


def main() -> None:
    """Call the backend and print the answers."""
    protos, address, name, *texts = sys.argv[1:]
    files = sorted(str(path.relative_to(protos)) for path in Path(protos).rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        outputs = [f"--python_out={folder}", f"--grpc_python_out={folder}"]
        assert protoc.main(["protoc", f"-I{protos}", *outputs, *files]) == 0
        sys.path.insert(0, folder)
        messages: Any = importlib.import_module(f"facet.models.{name}_pb2")
        stubs: Any = importlib.import_module("facet.typed_pb2_grpc")
        kind = getattr(messages, f"{name}_input")
        inputs = [text_format.Parse(text, kind()) for text in texts]
        with grpc.insecure_channel(address) as channel:
            service = stubs.ModelgRPCServiceStub(channel)
            items = list(getattr(service, f"{name}_predict_stream")(iter(inputs), timeout=30))
            answers = [getattr(service, f"{name}_predict")(one, timeout=30) for one in inputs]
    assert [item.output for item in items] == answers
    sys.stdout.write(json.dumps([_shown(answer) for answer in answers]))


def _shown(message: Any) -> dict[str, Any]:  # noqa: ANN401 - a class made at run time
    found: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return found


if __name__ == "__main__":
    main()
