"""The article's gateway: Flask with the standard library's JSON and base64, one channel for each process.

TARGET=127.0.0.1:50051 gunicorn --workers 2 'benchmarks.peers.article.gateway:create_app()'
"""

import base64
import json
import os
from typing import Any

import grpc
from flask import Flask, Response, request
from google.protobuf.json_format import MessageToDict

from protos import infer_pb2 as pb
from protos import infer_pb2_grpc


def create_app() -> Flask:
    """The application; gunicorn builds it in each of its processes."""
    app = Flask(__name__)
    stub: Any = infer_pb2_grpc.InferenceStub(grpc.insecure_channel(os.environ["TARGET"]))

    @app.post("/predict")
    def predict() -> Response:
        picture = base64.b64decode(json.loads(request.data)["image"])
        reply = stub.Predict(pb.Image(raw_data=picture))
        said = MessageToDict(reply, always_print_fields_with_no_presence=True)
        return Response(json.dumps({"results": said["results"]}), content_type="application/json")

    return app
