"""`/Inference/PredictStream`: pictures of which each is a request of its own, answered as they are ready."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from inference_server.api.access import admit_item
from inference_server.api.interceptor import discard_notes, failure_of, note
from inference_server.api.ordered import as_finished
from inference_server.api.submission import OwnTime
from protos import infer_pb2 as pb
from utils.errors import MalformedRequest, OptionOutOfRange
from utils.stream_codec import encode_problem

_MOST_ITEMS = 16
"""Pictures of one stream that are computed, or wait, or whose answers wait for the caller to read them."""

Predict = Callable[[pb.Image, Any], Awaitable[bytes]]
"""Finds the faces in one picture, with a call's context; gives serialized InferResults."""


async def answer_stream(
    predict: Predict,
    requests: AsyncIterator[pb.PredictStreamRequest],
    context: Any,  # noqa: ANN401
) -> AsyncIterator[bytes]:
    """Answer each picture with a serialized PredictStreamReply, as soon as it is done, or has failed."""
    counts = {"items": 0, "failed": 0}
    note(**counts)
    unanswered: set[int] = set()

    async def item(_: int, request: pb.PredictStreamRequest) -> pb.PredictStreamReply:
        discard_notes()
        number = request.number
        if number in unanswered:
            return _failed(number, _used_twice(number))
        unanswered.add(number)
        try:
            admit_item()
            found = predict(request.image, _patient(request, context))
            del request  # the picture waits in its buffer, and nowhere else
            return pb.PredictStreamReply(number=number, results=pb.InferResults.FromString(await found))
        except Exception as error:  # noqa: BLE001 - the pictures behind it are answered all the same
            return _failed(number, error)
        finally:
            unanswered.discard(number)

    async with aclosing(as_finished(requests, item, _MOST_ITEMS)) as replies:
        async for reply in replies:
            counts["items"] += 1
            counts["failed"] += reply.HasField("problem")
            note(**counts)
            yield reply.SerializeToString()


def _patient(request: pb.PredictStreamRequest, context: Any) -> Any:  # noqa: ANN401
    """The context of the call with the time of one picture, where it names one.

    Raises:
        OptionOutOfRange: It is no positive number.
    """
    if not request.HasField("timeout_seconds"):
        return context
    seconds = request.timeout_seconds
    if not seconds > 0:  # which is so of NaN, too
        raise OptionOutOfRange(
            f"timeout_seconds is {seconds:g}; accepted: a number above 0", field="timeout_seconds"
        )
    return OwnTime(context, seconds)


def _used_twice(number: int) -> MalformedRequest:
    return MalformedRequest(
        f"number is {number}, which a picture has that is not yet answered; accepted: any other",
        field="number",
    )


def _failed(number: int, error: Exception) -> pb.PredictStreamReply:
    problem = encode_problem(failure_of(error, "/Inference/PredictStream"))
    return pb.PredictStreamReply(number=number, problem=problem)
