"""open-inference-grpc, stubs of the protocol alone, in a process and an environment of its own.

`python open_inference_client.py ADDRESS` calls a backend and prints what it is answered, as JSON.
"""

import json
import sys

import grpc
import numpy as np
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceStub


def main() -> None:
    """Call it."""
    with grpc.insecure_channel(sys.argv[1]) as channel:
        stub = GRPCInferenceServiceStub(channel)
        metadata = stub.ModelMetadata(protocol.ModelMetadataRequest(name="identity"), timeout=60)
        request = protocol.ModelInferRequest(model_name="identity", model_version="1", id="id-1")
        x = request.inputs.add(name="x", datatype="FP32", shape=[1, 3])
        x.contents.fp32_contents.extend([0.5, 1, -2])
        answer = stub.ModelInfer(request, timeout=60)
        found = {
            "live": stub.ServerLive(protocol.ServerLiveRequest(), timeout=60).live,
            "inputs": [[one.name, one.datatype, [*one.shape]] for one in metadata.inputs],
            "answer": [answer.model_name, answer.model_version, answer.id],
            "y": np.frombuffer(answer.raw_output_contents[0], np.float32).tolist(),
        }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
