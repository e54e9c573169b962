"""A plain gateway of Flask, gunicorn and grpcio, which passes the picture on and faces back.

It has no limits, deadlines, error documents, request ids or log, and sees no client leave. It stands for what
one writes by hand in a few lines, and is what Facet's own gateway is seen beside.

TARGET=127.0.0.1:50051 gunicorn -k gthread --threads 64 'benchmarks.peers.bare_gateway:create_app()'
"""

import os
from typing import Any

import grpc
import orjson
from flask import Flask, Response, request

from protos import infer_pb2 as pb
from protos import infer_pb2_grpc

_LONGEST_MESSAGE = 16 * 1024**2


def create_app() -> Flask:
    """The application; gunicorn builds it in each of its processes."""
    app = Flask(__name__)
    options = [("grpc.max_send_message_length", _LONGEST_MESSAGE)]
    stub: Any = infer_pb2_grpc.InferenceStub(grpc.insecure_channel(os.environ["TARGET"], options=options))

    @app.post("/predict")
    def predict() -> Response:
        wanted = pb.DetectOptions(threshold_output=float(request.args["threshold_output"]))
        reply = stub.Predict(pb.Image(raw_data=request.get_data(), options=wanted))
        corners = [(face.box.up_left, face.box.lower_right, face.confidence) for face in reply.results]
        faces = [
            {"box": [start.x, start.y, end.x, end.y], "confidence": confidence}
            for start, end, confidence in corners
        ]
        return Response(orjson.dumps({"faces": faces}), content_type="application/json")

    return app
