"""The gRPC edge: a message becomes work, its answer a message. Errors are the interceptor's business."""

import math
import time
from collections.abc import Awaitable, Mapping
from typing import Any, NamedTuple, Protocol

from inference_server import images
from inference_server.contents import pack_context, unpack_answer
from inference_server.detector.scales import check_pyramid
from inference_server.dispatch.admission import Load
from inference_server.dispatch.work import Work
from inference_server.interceptors import note, request_id, traceparent
from protos import infer_pb2 as pb
from protos import infer_pb2_grpc
from utils import codec
from utils.channel import TIMEOUT_IS_DEFAULT
from utils.domain import DetectRequest
from utils.errors import LARGER_FACES_HELP, DeadlineExceeded, QueueFull
from utils.settings import Settings

MODEL, OPERATION = "face_detection", "detect"

_DECODING = 0.15
"""What a pixel costs to decode beside one to search: 6.7 ms a megapixel (150 megapixels a second, as in
inference_server/images/decoding.py) over the 45 ms of the proposal network (`make bench NAME=roofline`)."""
_FIXED_COST = 0.05
"""What a picture costs however small it is, as if it were megapixels to search."""


def cost_of(pixels: int, searched: int) -> float:
    """The cost of one picture, in megapixels to search.

    Args:
        pixels: How many it has.
        searched: How many all levels of its pyramid have: few where only large faces are looked for.
    """
    return (searched + _DECODING * pixels) / 1e6 + _FIXED_COST


class Dispatcher(Protocol):
    """What is needed of inference_server.dispatch.front.Front."""

    def admit(self, load: Load, deadline: float, longest_wait: float) -> None:
        """Refuse a request for which there is no room or no time."""

    async def submit(self, work: Work, longest_wait: float) -> bytes:
        """Have work done; gives its answer."""


class _Patience(NamedTuple):
    """How long a request may take.

    Attributes:
        deadline: When its answer is no longer wanted, of the monotonic clock.
        longest_wait: Seconds of predicted wait with which it is accepted; infinite where its caller has named
            a time, which decides then.
    """

    deadline: float
    longest_wait: float


class InferenceServicer(infer_pb2_grpc.InferenceServicer):
    """Answers /Inference/Predict."""

    def __init__(self, front: Dispatcher, settings: Settings) -> None:
        self._front = front
        self._settings = settings

    async def Predict(self, message: pb.Image, context: Any) -> pb.InferResults:  # noqa: ANN401, N802
        """Find the faces in one picture."""
        try:
            answer, image_id, metadata = self._submit(message, context)
            del message  # the picture waits in its envelope; who waits for it shall not hold it, too
            results = unpack_answer(await answer)
        except (QueueFull, DeadlineExceeded) as error:
            detail = f"{error.detail} {LARGER_FACES_HELP}"
            raise type(error)(detail, retry_after=error.retry_after) from error
        note(faces=len(results.results), **_times(results.timings))
        return codec.returned_as_sent(results, image_id, metadata)

    def _submit(
        self,
        message: pb.Image,
        context: Any,  # noqa: ANN401
    ) -> tuple[Awaitable[bytes], str, Mapping[str, str]]:
        """Make work of a message; gives its answer to come, and what comes back in it as it was sent."""
        received = time.monotonic()
        picture = message.raw_data  # once: each look at it is a copy
        note(bytes=len(picture))
        # First what costs least: a machine that is full must refuse more cheaply than it computes.
        patience = self._patience_of(context, received)
        self._front.admit(Load(1, len(picture)), *patience)
        request = codec.decode_request(message, picture)
        header, searched = self._inspect(request)
        note(format=header.format, width=header.width, height=header.height)
        work = Work(
            model=MODEL,
            operation=OPERATION,
            context=pack_context(request.options, request_id.get(), traceparent.get()),
            payload=request.image,
            cost=cost_of(header.pixels, searched),
            received=received,
            deadline=patience.deadline,
            grace=header.decode_seconds,
        )
        answer = self._front.submit(work, patience.longest_wait)
        return answer, request.image_id, request.metadata

    def _inspect(self, request: DetectRequest) -> tuple[images.Header, int]:
        """Refuse by its header what would be refused later; gives it, and how many pixels to search."""
        limits = self._settings
        header = images.inspect(request.image, limits.max_image_bytes, limits.max_image_pixels)
        size = request.options.min_face_size
        return header, check_pyramid(header.width, header.height, size, limits.max_image_pixels)

    def _patience_of(self, context: Any, received: float) -> _Patience:  # noqa: ANN401
        """What the caller gives, or the default, and never more than the maximum."""
        remaining: float | None = context.time_remaining()
        named = remaining is not None and TIMEOUT_IS_DEFAULT not in context.invocation_metadata()
        if remaining is None:
            remaining = self._settings.timeout_seconds
        return _Patience(
            deadline=received + min(remaining, self._settings.max_timeout_seconds),
            longest_wait=math.inf if named else self._settings.queue_seconds,
        )


def _times(timings: pb.Timings) -> dict[str, float]:
    return {
        "queue_ms": round(timings.queue_ms, 3),
        "decode_ms": round(timings.decode_ms, 3),
        "detect_ms": round(timings.detect_ms, 3),
    }
