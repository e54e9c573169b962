"""Rules of /Inference/Predict between the wire and the queue."""

import asyncio
from typing import Any

import grpc
import pytest

from inference_server.api.infer import InferenceService
from inference_server.api.interceptor import CallInterceptor
from inference_server.api.messages import MessageReceiver
from inference_server.api.submission import Submissions
from inference_server.dispatch.admission import Load
from inference_server.dispatch.work import Work
from protos import infer_pb2 as pb
from protos import infer_pb2_grpc
from tests.support.pictures import ASTRONAUT
from tests.unit.test_face_detection import model
from utils.channel import MIB, error_of
from utils.errors import MalformedRequest, OptionOutOfRange
from utils.settings import Settings

IMAGE = ASTRONAUT.read_bytes()


class AtOnce:
    """Stands where a worker has its dispatcher: work is done at once, and its answer kept."""

    def __init__(self) -> None:
        self.answer = b""

    def admit(self, load: Load, deadline: float, longest_wait: float, queue: int = 0) -> None:
        """Refuse nothing."""

    async def submit(self, work: Work, longest_wait: float) -> bytes:  # noqa: ARG002
        """Do it."""
        self.answer = model().handle(work, lambda: None).answer
        return self.answer


def predicted(message: pb.Image) -> tuple[pb.InferResults, bytes]:
    """What a message is answered with, and what it was answered with by the model."""

    async def play() -> pb.InferResults:
        names = {InferenceService.name}
        server = grpc.aio.server(interceptors=[CallInterceptor(names, MessageReceiver(names, MIB, 60.0))])
        InferenceService(Submissions(dispatcher), model(), Settings.from_environ({})).add_to(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub: Any = infer_pb2_grpc.InferenceStub(channel)
                results: pb.InferResults = await stub.Predict(message, timeout=30)
                return results
        finally:
            await server.stop(None)

    dispatcher = AtOnce()
    return asyncio.run(play()), dispatcher.answer


@pytest.mark.parametrize("notes", [{}, {"a": "b", "": "ü"}])
def test_an_answer_is_the_models_own_with_what_its_caller_sent(notes: dict[str, str]) -> None:
    """Byte for byte, with the caller's id and notes; where there are none, they are not there."""
    message = pb.Image(raw_data=IMAGE, image_id="me.jpg")
    message._meta_data.values.update(notes)
    results, answer = predicted(message)
    assert (results.image_id, dict(results._meta_data.values)) == ("me.jpg", notes)
    assert results.HasField("_meta_data") == bool(notes)
    results.ClearField("image_id")
    results.ClearField("_meta_data")
    assert len(results.results) == 1
    assert answer.endswith(results.SerializeToString(deterministic=True))


@pytest.mark.parametrize(
    ("message", "expected", "quoted"),
    [
        (pb.Image(image_id="x" * 1025), MalformedRequest, "image_id has 1025 characters"),
        (
            pb.Image(_meta_data=pb.MetaData(values={str(number): "" for number in range(257)})),
            MalformedRequest,
            "257 entries",
        ),
        (pb.Image(options=pb.DetectOptions(threshold_output=1.3)), OptionOutOfRange, "is 1.3;"),
    ],
)
def test_a_message_out_of_bounds_is_refused_before_it_waits(
    message: pb.Image, expected: type[Exception], quoted: str
) -> None:
    """With the value as its sender wrote it."""
    message.raw_data = IMAGE
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        predicted(message)
    error = error_of(caught.value)
    assert type(error) is expected
    assert quoted in error.detail
