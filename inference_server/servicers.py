"""The gRPC edge: a message becomes a job, its answer a message. Errors are the interceptor's business."""

import time
from dataclasses import replace
from typing import Any

from inference_server import images
from inference_server.admission import load_of
from inference_server.detector.scales import check_pyramid
from inference_server.dispatch import Dispatch, Job
from inference_server.interceptors import note, request_id
from protos import infer_pb2 as pb
from protos import infer_pb2_grpc
from utils import codec
from utils.domain import DetectRequest, Timings
from utils.settings import Settings


class InferenceServicer(infer_pb2_grpc.InferenceServicer):
    """Answers /Inference/Predict."""

    def __init__(self, dispatch: Dispatch, settings: Settings) -> None:
        self._dispatch = dispatch
        self._settings = settings

    async def Predict(self, message: pb.Image, context: Any) -> pb.InferResults:  # noqa: ANN401, N802
        """Find the faces in one picture."""
        received = time.monotonic()
        note(bytes=len(message.raw_data))
        request = codec.decode_request(message)
        header = self._inspect(request)
        note(format=header.format, width=header.width, height=header.height)
        job = Job(
            request=request,
            load=load_of(len(request.image), header.width, header.height),
            received=received,
            deadline=received + self._time_of(context),
            request_id=request_id.get(),
        )
        detection = await self._dispatch.detect(job)
        note(faces=len(detection.faces), **_rounded(detection.timings))
        own = replace(detection, image_id=request.image_id, metadata=request.metadata)
        return codec.encode_detection(own)

    def _inspect(self, request: DetectRequest) -> images.Header:
        """Refuse by its header what would be refused later, before it takes a place."""
        limits = self._settings
        header = images.inspect(request.image, limits.max_image_bytes, limits.max_image_pixels)
        size = request.options.min_face_size
        check_pyramid(header.width, header.height, size, limits.max_image_pixels)
        return header

    def _time_of(self, context: Any) -> float:  # noqa: ANN401
        """Seconds that the caller gives, or the default, and never more than the maximum."""
        remaining = context.time_remaining()
        if remaining is None:
            remaining = self._settings.timeout_seconds
        return min(remaining, self._settings.max_timeout_seconds)


def _rounded(timings: Timings) -> dict[str, float]:
    return {
        "queue_ms": round(timings.queue_ms, 3),
        "decode_ms": round(timings.decode_ms, 3),
        "detect_ms": round(timings.detect_ms, 3),
    }
