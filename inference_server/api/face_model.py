"""Face detection, which the workers host themselves, called as the other models are."""

import asyncio
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from inference_server.models.face_messages import OPERATIONS, decode_json, encode_json
from protos import infer_pb2 as pb
from utils.errors import InvalidInput, MalformedRequest


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

    async def call(self, operation: str, payload: bytes, context: Any) -> bytes:  # noqa: ANN401
        """Find the faces in the picture of one input.

        Raises:
            MalformedRequest: The payload cannot be read.
            InvalidInput: It does not fit the input's schema, or is in another form.
            FacetError: As `/Inference/Predict`.
        """
        if operation == "json":
            # Of a large picture it takes a moment, in which the event loop has other things to do.
            message = await asyncio.to_thread(decode_json, payload)
            del payload
            found = self._inference.predict(message, context)
            del message  # the picture waits in its buffer, and nowhere else
            return await asyncio.to_thread(encode_json, await found)
        if operation != "typed":
            raise InvalidInput(
                f"Face detection takes {' and '.join(OPERATIONS)} input here; forms, and pictures as they "
                "are, it takes by POST /predict."
            )
        try:
            found = self._inference.predict(pb.Image.FromString(payload), context)
        except DecodeError as error:
            raise MalformedRequest("The bytes are no message of the input's type.") from error
        del payload
        return await found
