"""Face detection in the process of its caller, without a server."""

import math
import time
from dataclasses import replace

from inference_server.dispatch.work import Work
from inference_server.models.encoding import pack_context, unpack_answer
from inference_server.models.face_detection import FaceDetection
from protos import infer_pb2 as pb
from utils import codec
from utils.domain import Detection, DetectRequest


def detect(model: FaceDetection, request: DetectRequest) -> Detection:
    """The faces of a picture, exactly what a backend would answer.

    Raises:
        FacetError: What it would refuse the picture with.
    """
    examined = model.examine(codec.encode_request(replace(request, image=b"")), request.image)
    work = Work(
        model=model.name,
        operation=model.operation,
        context=pack_context("", "", examined.parameters),
        payload=request.image,
        cost=examined.cost,
        received=time.monotonic(),
        deadline=math.inf,
    )
    message, _ = unpack_answer(model.handle(work, lambda: None).answer)
    return codec.decode_detection(pb.InferResults.FromString(message))
