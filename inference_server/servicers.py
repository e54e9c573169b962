"""The gRPC edge: a message becomes work, its answer a message. Errors are the interceptor's business."""

import time
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, Protocol

from inference_server import images
from inference_server.contents import pack_context, unpack_answer
from inference_server.detector.scales import check_pyramid
from inference_server.dispatch.admission import Load, load_of
from inference_server.dispatch.envelope import Work
from inference_server.interceptors import note, request_id, traceparent
from protos import infer_pb2 as pb
from protos import infer_pb2_grpc
from utils import codec
from utils.domain import DetectRequest
from utils.settings import Settings


class Dispatcher(Protocol):
    """What is needed of inference_server.dispatch.front.Front."""

    def check_room(self, size: int) -> None:
        """Refuse a request of so many bytes before anything is done for it."""

    async def submit(self, work: Work, load: Load) -> bytes:
        """Have work done; gives its answer."""


class InferenceServicer(infer_pb2_grpc.InferenceServicer):
    """Answers /Inference/Predict."""

    def __init__(self, front: Dispatcher, settings: Settings) -> None:
        self._front = front
        self._settings = settings

    async def Predict(self, message: pb.Image, context: Any) -> pb.InferResults:  # noqa: ANN401, N802
        """Find the faces in one picture."""
        answer, sent = self._submit(message, context)
        del message  # the picture waits in its envelope; who waits for it shall not hold it, too
        results = unpack_answer(await answer)
        note(faces=len(results.results), **_times(results.timings))
        return codec.returned_as_sent(results, sent)

    def _submit(self, message: pb.Image, context: Any) -> tuple[Awaitable[bytes], DetectRequest]:  # noqa: ANN401
        """Make work of a message; gives its answer to come, and the request without its picture."""
        received = time.monotonic()
        picture = message.raw_data  # once: each look at it is a copy
        note(bytes=len(picture))
        # First what costs least: a machine that is full must refuse more cheaply than it computes.
        self._front.check_room(len(picture))
        request = codec.decode_request(message, picture)
        header, searched = self._inspect(request)
        note(format=header.format, width=header.width, height=header.height)
        load = load_of(len(request.image), header.pixels, searched)
        work = Work(
            context=pack_context(request.options, request_id.get(), traceparent.get()),
            picture=request.image,
            megapixels=load.megapixels,
            received=received,
            deadline=received + self._time_of(context),
            unseen=header.decode_seconds,
        )
        return self._front.submit(work, load), replace(request, image=b"")

    def _inspect(self, request: DetectRequest) -> tuple[images.Header, int]:
        """Refuse by its header what would be refused later; gives it, and how many pixels to search."""
        limits = self._settings
        header = images.inspect(request.image, limits.max_image_bytes, limits.max_image_pixels)
        size = request.options.min_face_size
        return header, check_pyramid(header.width, header.height, size, limits.max_image_pixels)

    def _time_of(self, context: Any) -> float:  # noqa: ANN401
        """Seconds that the caller gives, or the default, and never more than the maximum."""
        remaining: float | None = context.time_remaining()
        if remaining is None:
            remaining = self._settings.timeout_seconds
        return min(remaining, self._settings.max_timeout_seconds)


def _times(timings: pb.Timings) -> dict[str, float]:
    return {
        "queue_ms": round(timings.queue_ms, 3),
        "decode_ms": round(timings.decode_ms, 3),
        "detect_ms": round(timings.detect_ms, 3),
    }
