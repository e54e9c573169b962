"""One process of the article's backend: a gRPC server of five threads that share one `MTCNN()`."""

import argparse
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
from mtcnn import MTCNN
from PIL import Image

from inference_server.supervision.processes import die_with_parent
from protos import infer_pb2 as pb
from protos import infer_pb2_grpc

THREADS = 5


class Inference(infer_pb2_grpc.InferenceServicer):
    """Decodes and detects in the thread that gRPC gives it."""

    def __init__(self) -> None:
        self._detector = MTCNN()

    def Predict(self, request: pb.Image, _context: grpc.ServicerContext) -> pb.InferResults:  # noqa: N802
        """Find the faces in one picture."""
        with Image.open(io.BytesIO(request.raw_data)) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        faces = self._detector.detect_faces(pixels)
        return pb.InferResults(image_id=request.image_id, results=[result(face) for face in faces])


def result(face: dict[str, Any]) -> pb.Result:
    """A face of the package as a message."""
    x, y, width, height = face["box"]
    return pb.Result(
        box=pb.Box(up_left=pb.Point(x=x, y=y), lower_right=pb.Point(x=x + width, y=y + height)),
        landmarks=pb.Landmarks(
            **{name: pb.Point(x=at[0], y=at[1]) for name, at in face["keypoints"].items()}
        ),
        confidence=face["confidence"],
    )


def main() -> None:
    """Serve until killed; a line `ready` says when."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="host:port, shared with the others")
    parser.add_argument("--parent", type=int, default=os.getppid())
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[("grpc.so_reuseport", 1)])
    infer_pb2_grpc.add_InferenceServicer_to_server(Inference(), server)
    server.add_insecure_port(arguments.address)
    server.start()
    print(json.dumps({"message": "ready"}), flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
