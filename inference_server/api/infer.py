"""`/Inference`: a message becomes work, and its answer is sent as it comes from the detector."""

import time
from collections.abc import Awaitable
from functools import partial
from typing import Any

import grpc

from inference_server.api.infer_stream import answer_stream
from inference_server.api.interceptor import note, request_id, traceparent
from inference_server.api.submission import Submissions, patience_of
from inference_server.dispatch.admission import Load
from inference_server.dispatch.work import Work
from inference_server.models.encoding import pack_context
from inference_server.models.face_detection import Examined, FaceDetection
from protos import infer_pb2 as pb
from utils.domain import check_echoed
from utils.errors import LARGER_FACES_HELP, DeadlineExceeded, QueueFull
from utils.settings import Settings


class InferenceService:
    """Answers by face detection. Errors are the interceptor's business."""

    name = "Inference"
    file = pb.DESCRIPTOR

    def __init__(self, submissions: Submissions, model: FaceDetection, settings: Settings) -> None:
        self._submissions = submissions
        self._model = model
        self._settings = settings

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register its methods, whose answers are bytes already."""
        predict: Any = grpc.unary_unary_rpc_method_handler(self.predict, pb.Image.FromString)
        predict_stream: Any = grpc.stream_stream_rpc_method_handler(
            partial(answer_stream, self.predict), pb.PredictStreamRequest.FromString
        )
        handlers = {"Predict": predict, "PredictStream": predict_stream}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self.name, handlers),))

    async def predict(self, message: pb.Image, context: Any) -> bytes:  # noqa: ANN401
        """Find the faces in one picture; gives a serialized InferResults."""
        try:
            answer, echo = self._submit(message, context)
            del message  # the picture waits in its buffer; who waits for it shall not hold it, too
            results, log_fields = await answer
        except (QueueFull, DeadlineExceeded) as error:
            detail = f"{error.detail} {LARGER_FACES_HELP}"
            raise type(error)(detail, retry_after=error.retry_after) from error
        note(**log_fields)
        return results + echo  # serialized messages of one type, one after the other, are one message

    def _submit(
        self,
        message: pb.Image,
        context: Any,  # noqa: ANN401
    ) -> tuple[Awaitable[tuple[bytes, dict[str, Any]]], bytes]:
        """Make work of a message; gives what it will be answered, and what comes back as it was sent."""
        received = time.monotonic()
        image = message.raw_data  # once: each look at it is a copy
        note(bytes=len(image))
        # First what costs least: a machine that is full must refuse more cheaply than it computes.
        deadline, longest_wait = patience_of(context, received, self._settings)
        self._submissions.admit(Load(1, len(image)), deadline, longest_wait)
        check_echoed(message.image_id, message._meta_data.values)
        examined = self._model.examine(message, image)
        note(**examined.log_fields)
        work = _work(examined, image, received, deadline)
        return self._submissions.submit(work, longest_wait), _echo(message)


def _work(examined: Examined, image: bytes, received: float, deadline: float) -> Work:
    return Work(
        model=FaceDetection.name,
        operation=FaceDetection.operation,
        queue=FaceDetection.queue,
        context=pack_context(request_id.get(), traceparent.get(), examined.parameters),
        payload=image,
        cost=examined.cost,
        received=received,
        deadline=deadline,
        grace=examined.grace,
    )


def _echo(message: pb.Image) -> bytes:
    """The fields of an answer that are returned as they were sent, serialized."""
    echo = pb.InferResults(image_id=message.image_id)
    if message._meta_data.values:
        echo._meta_data.values.MergeFrom(message._meta_data.values)
    return echo.SerializeToString()
