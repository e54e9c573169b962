"""Face detection, which the workers host themselves, called as the other models are."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

from google.protobuf.message import DecodeError

from inference_server.api.interceptor import discard_notes, note
from inference_server.api.ordered import in_order
from inference_server.models.encodings import inference
from inference_server.models.encodings.torchserve_inputs import of_body, of_message
from inference_server.models.face_messages import (
    OPERATIONS,
    decode_json,
    decode_keys,
    encode_document,
    encode_json,
)
from inference_server.models.face_tensors import face_operations
from protos import infer_pb2 as pb
from utils.errors import InvalidInput, InvalidRequest, MalformedRequest, shown

Made = TypeVar("Made")

_MOST_AT_ONCE = 8
"""Pictures of one request that are computed, or wait, at once."""
_SMALL_INPUT = 128 * 1024
"""Bytes of an input that is read on the event loop: a thread would take longer to begin."""
_SMALL_ANSWER = 4096
"""Bytes of results, about 35 faces, of which an answer is made there, too."""

_ENCODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "json": encode_json,
    "torchserve": encode_document,
    "torchserve_http": encode_document,
}
"""Make the answer of an operation of serialized InferResults; `typed` gives them as they are."""


class Inference(Protocol):
    """The part of inference_server.api.infer.InferenceService that is used here."""

    async def predict(self, message: pb.Image, context: Any) -> bytes:  # noqa: ANN401
        """Find the faces in one picture; gives a serialized InferResults."""


class FaceModel:
    """Answers by face detection.

    Args:
        inference: Detects the faces, within its own limits.
    """

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def call(
        self,
        operation: str,
        payload: bytes,
        context: Any,  # noqa: ANN401
        parameters: bytes = b"",
        key: str = "",
    ) -> bytes:
        """Find the faces in the picture of one input.

        Args:
            operation: One of OPERATIONS.
            payload: The input.
            context: Of the call.
            parameters: What the operation needs to know beside the input.
            key: The name and version that face detection is listed as.

        Raises:
            MalformedRequest: The payload cannot be read.
            InvalidInput: It does not fit the input's schema, or is in another form.
            FacetError: As `/Inference/Predict`.
        """
        is_small = len(payload) <= _SMALL_INPUT
        if operation in inference.OPERATIONS:
            opening = _done(is_small, face_operations(key)[operation].open, payload, parameters)
            del payload
            return await self._by_tensors(*await opening, context)
        if operation == "typed":
            message = _typed(payload)
        else:
            message = await _done(is_small, _read, operation, payload, parameters)
        del payload
        found = self._inference.predict(message, context)
        del message  # the picture waits in its buffer, and nowhere else
        results = await found
        encode = _ENCODERS.get(operation)
        return results if encode is None else await _done(len(results) <= _SMALL_ANSWER, encode, results)

    async def _by_tensors(
        self,
        pictures: list[pb.Image],
        encode: Callable[[Sequence[bytes]], bytes],
        context: Any,  # noqa: ANN401
    ) -> bytes:
        """Find the faces in each picture, of some at the same time.

        Raises:
            FacetError: As `/Inference/Predict`, of the first that fails; the field says which one it is.
        """
        note(items=len(pictures))
        is_one = len(pictures) == 1

        async def answer(number: int, picture: pb.Image) -> bytes:
            if not is_one:
                discard_notes()
            found = self._inference.predict(picture, context)
            del picture
            try:
                return await found
            except InvalidRequest as error:
                error.field = f"image.{number}"
                raise

        if is_one:
            results = [await answer(0, pictures.pop())]
        else:
            async with aclosing(in_order(_each(pictures), answer, _MOST_AT_ONCE)) as answers:
                results = [one async for one in answers]
        return await _done(sum(map(len, results)) <= _SMALL_ANSWER, encode, results)


async def _done(here: bool, work: Callable[..., Made], *arguments: Any) -> Made:  # noqa: ANN401
    """Do work here, or in a thread while the event loop has other things to do."""
    return work(*arguments) if here else await asyncio.to_thread(work, *arguments)


def _typed(payload: bytes) -> pb.Image:
    try:
        message = pb.Image.FromString(payload)
    except DecodeError as error:
        raise MalformedRequest("The bytes are no message of the input's type.") from error
    message.ClearField("wanted")  # which that type does not have
    return message


def _read(operation: str, payload: bytes, parameters: bytes) -> pb.Image:
    match operation:
        case "json":
            return decode_json(payload)
        case "torchserve":
            return decode_keys(of_message(payload))
        case "torchserve_http":
            return decode_keys(of_body(payload, parameters.decode("latin-1")))
        case _:
            raise InvalidInput(
                f"Face detection cannot be called by {shown(operation)!r}; it can by "
                f"{', '.join(OPERATIONS)}. Forms, and pictures as they are, it takes by POST /predict.",
                field="operation",
            )


async def _each(pictures: list[pb.Image]) -> AsyncIterator[pb.Image]:
    """The pictures, each of which waits in its buffer, and nowhere else, once it is taken."""
    pictures.reverse()
    while pictures:
        yield pictures.pop()
