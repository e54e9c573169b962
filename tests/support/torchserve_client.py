"""A client made from TorchServe's two contracts alone, in a process of its own.

`python torchserve_client.py` reads a JSON list of calls from its standard input, makes them one after the
other with stubs of the texts below, and prints what each was answered as a JSON list. A call is
`{"address": …, "method": …, "requests": [...], "metadata": {...}}`; the bytes of an `input` are the names of
files after `@`, or texts. An answer is `{"replies": [...]}`, and where there is an error `code` and `text`.
"""

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import google.rpc
import grpc
from google.protobuf import empty_pb2
from grpc_tools import protoc

INFERENCE = """
syntax = "proto3";
package org.pytorch.serve.grpc.inference;
import "google/protobuf/empty.proto";
import "google/rpc/status.proto";
message PredictionsRequest { string model_name = 1; string model_version = 2; map<string, bytes> input = 3;
                             optional string sequence_id = 4; }
message PredictionResponse { bytes prediction = 1; optional string sequence_id = 2;
                             optional google.rpc.Status status = 3; }
message TorchServeHealthResponse { string health = 1; }
service InferenceAPIsService {
  rpc Ping(google.protobuf.Empty) returns (TorchServeHealthResponse) {}
  rpc Predictions(PredictionsRequest) returns (PredictionResponse) {}
  rpc StreamPredictions(PredictionsRequest) returns (stream PredictionResponse) {}
  rpc StreamPredictions2(stream PredictionsRequest) returns (stream PredictionResponse) {}
}
"""

MANAGEMENT = """
syntax = "proto3";
package org.pytorch.serve.grpc.management;
message ManagementResponse { string msg = 1; }
message DescribeModelRequest { string model_name = 1; string model_version = 2; bool customized = 3; }
message ListModelsRequest { int32 limit = 1; int32 next_page_token = 2; }
message RegisterModelRequest { int32 batch_size = 1; string handler = 2; int32 initial_workers = 3;
                               int32 max_batch_delay = 4; string model_name = 5; int32 response_timeout = 6;
                               string runtime = 7; bool synchronous = 8; string url = 9; bool s3_sse_kms = 10;
                               int32 startup_timeout = 11; }
message ScaleWorkerRequest { string model_name = 1; string model_version = 2; int32 max_worker = 3;
                             int32 min_worker = 4; int32 number_gpu = 5; bool synchronous = 6;
                             int32 timeout = 7; }
message SetDefaultRequest { string model_name = 1; string model_version = 2; }
message UnregisterModelRequest { string model_name = 1; string model_version = 2; }
service ManagementAPIsService {
  rpc DescribeModel(DescribeModelRequest) returns (ManagementResponse) {}
  rpc ListModels(ListModelsRequest) returns (ManagementResponse) {}
  rpc RegisterModel(RegisterModelRequest) returns (ManagementResponse) {}
  rpc ScaleWorker(ScaleWorkerRequest) returns (ManagementResponse) {}
  rpc SetDefault(SetDefaultRequest) returns (ManagementResponse) {}
  rpc UnregisterModel(UnregisterModelRequest) returns (ManagementResponse) {}
}
"""

_STREAMS = {"StreamPredictions2"}
_APIS = Path(next(iter(google.rpc.__path__))).parent.parent


class Stubs:
    """Both services' stubs and messages."""

    def __init__(self, folder: Path) -> None:
        sys.path.insert(0, str(folder))
        self.services, self.messages = {}, {}
        for name, text in (("inference", INFERENCE), ("management", MANAGEMENT)):
            (folder / f"{name}.proto").write_text(text)
            outputs = [f"--python_out={folder}", f"--grpc_python_out={folder}"]
            include = Path(protoc.__file__).parent / "_proto"
            command = ["protoc", f"-I{folder}", f"-I{include}", f"-I{_APIS}", *outputs]
            assert protoc.main([*command, str(folder / f"{name}.proto")]) == 0
            self.messages[name] = importlib.import_module(f"{name}_pb2")
            stubs = importlib.import_module(f"{name}_pb2_grpc")
            self.services[name] = getattr(stubs, f"{name.title()}APIsServiceStub")

    def call(self, channel: grpc.Channel, given: dict[str, Any]) -> dict[str, Any]:
        """Make one call."""
        method = given["method"]
        predicts = method == "Ping" or "Predictions" in method
        service = self.services["inference" if predicts else "management"](channel)
        requests = [self._request(method, values) for values in given.get("requests", [{}])]
        metadata = tuple(given.get("metadata", {}).items())
        replies = []
        try:
            call: Any = getattr(service, method)
            if method in _STREAMS:
                answered = call(iter(requests), timeout=30, metadata=metadata)
            else:
                answered = call(requests[0], timeout=30, metadata=metadata)
            for reply in answered if "Stream" in method else [answered]:
                replies.append(_shown(reply))  # noqa: PERF401 - what came before an error stays
        except grpc.RpcError as error:
            return {"replies": replies, "code": error.code().name, "text": error.details()}
        return {"replies": replies}

    def _request(self, method: str, values: dict[str, Any]) -> Any:  # noqa: ANN401 - a generated class
        if method == "Ping":
            return empty_pb2.Empty()
        if "Predictions" in method:
            inputs = {key: _content(text) for key, text in values.pop("input", {}).items()}
            return self.messages["inference"].PredictionsRequest(input=inputs, **values)
        return getattr(self.messages["management"], f"{method}Request")(**values)


def _content(text: str) -> bytes:
    return Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()


def _shown(reply: Any) -> dict[str, Any]:  # noqa: ANN401 - a generated class
    values = {field.name: value for field, value in reply.ListFields()}
    if "prediction" in values:
        values["prediction"] = values["prediction"].decode()
    if "status" in values:
        values["status"] = {"code": values["status"].code, "message": values["status"].message}
    return values


def main() -> None:
    """Make the calls and print the answers."""
    with tempfile.TemporaryDirectory() as folder:
        stubs = Stubs(Path(folder))
        answers = []
        for given in json.load(sys.stdin):
            with grpc.insecure_channel(given["address"]) as channel:
                answers.append(stubs.call(channel, given))
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main()
