"""Face detection in the process of its caller, without a server."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from inference_server.dispatch.consumer import Outcome
from inference_server.dispatch.work import Work
from inference_server.models.encoding import pack_context, pack_error
from inference_server.models.face_detection import FaceDetection
from utils import codec
from utils.domain import DetectRequest
from utils.errors import FacetError


def answer(model: FaceDetection, request: DetectRequest) -> bytes:
    """What a worker would answer to a picture, packed as it would be: inference_server/models/encoding.py."""
    try:
        examined = model.examine(codec.encode_request(replace(request, image=b"")), request.image)
    except FacetError as error:
        return pack_error(error)
    work = Work(
        model=model.name,
        operation=model.operation,
        context=pack_context("", "", examined.parameters),
        payload=request.image,
        cost=examined.cost,
        received=time.monotonic(),
        deadline=math.inf,
    )
    return model.handle(work, lambda: None).answer


class LocalFaces:
    """Face detection as one of the models of `inference_server.models.local.LocalDispatcher`.

    Args:
        model: Finds the faces.
    """

    key = FaceDetection.name

    def __init__(self, model: FaceDetection) -> None:
        self._model = model

    def handle(self, works: Sequence[Work]) -> list[Outcome]:
        """Answer requests, one after the other."""
        return [self._model.handle(work, lambda: None) for work in works]
