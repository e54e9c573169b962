"""A call to a model, by whichever method it came: it becomes work in the queue of one version."""

import time
from typing import Any, Protocol

from inference_server.api.interceptor import note, note_queue, request_id, traceparent
from inference_server.api.registry import ModelRegistry
from inference_server.api.submission import Submissions, patience_of
from inference_server.catalogue.entries import ModelVersion
from inference_server.dispatch.work import Work
from inference_server.models.encoding import no_operation, pack_context
from inference_server.models.face_detection import FaceDetection
from utils.errors import MessageTooLarge
from utils.settings import Settings

TYPED, JSON, MULTIPART = "typed", "json", "multipart"
"""Operations that every model has: a message of its own type, JSON, a form."""
OIP, TORCHSERVE = "oip", "torchserve"
"""And requests of the Open Inference Protocol and of TorchServe, in messages of theirs."""
CLASSIFY, PIPELINE = "classify", "pipeline"
"""Operations of some models: those of published contracts."""

_LONGEST_NAME = 64
"""Of a model; of what is none the log has no more."""
_COST = 1.0
"""Of a call to a model: what its calls take is learned by its own queue."""


def note_model(name: str, version: str) -> None:
    """Have the log line of the current call say which model it is for, whether there is one or not."""
    note(model=name[:_LONGEST_NAME], version=version[:_LONGEST_NAME] or None)


class Faces(Protocol):
    """The part of inference_server.api.face_model.FaceModel that is used here."""

    async def call(
        self,
        operation: str,
        payload: bytes,
        context: Any,  # noqa: ANN401
        parameters: bytes = b"",
        key: str = "",
    ) -> bytes:
        """Find the faces in the picture of one input."""


class ModelCaller:
    """Calls the models that are registered now.

    Args:
        registry: Of the models.
        submissions: Has their work done.
        faces: The model that the workers host themselves.
        settings: For limits and times.
    """

    def __init__(
        self, registry: ModelRegistry, submissions: Submissions, faces: Faces, settings: Settings
    ) -> None:
        self.registry = registry
        self._submissions = submissions
        self._faces = faces
        self._settings = settings

    def find(self, name: str, version: str = "") -> ModelVersion:
        """The version that is to answer the current call.

        Args:
            name: Of the model.
            version: Empty for the default version, or one that canary weights choose by the call's id.

        Raises:
            ModelNotFound, ModelNotReady: As Catalogue.find.
        """
        note_model(name, version)
        found = self.registry.find(name, version, request_id.get())
        note(version=found.version)
        note_queue(found.queue)
        return found

    async def call(
        self,
        version: ModelVersion,
        operation: str,
        payload: bytes,
        context: Any,  # noqa: ANN401
        parameters: bytes = b"",
    ) -> bytes:
        """Have a version do an operation; gives what it answers, in the form of the operation.

        Who calls this should not hold the payload while it waits, in its buffer.

        Args:
            version: It, as `find` gave it.
            operation: One of those above.
            payload: The input, in the form of the operation.
            context: Of the call.
            parameters: What the operation needs to know beside the input.

        Raises:
            MessageTooLarge: The payload is over the limit.
            InvalidInput: The model has no such operation.
            QueueFull, DeadlineExceeded: There is no room or no time for it.
            FacetError: What the model has answered.
        """
        received = time.monotonic()
        note(bytes=len(payload))
        if version.queue == FaceDetection.queue:
            found = self._faces.call(operation, payload, context, parameters, version.key)
            del payload
            return await found
        self._check(version, operation, len(payload))
        deadline, longest_wait = patience_of(context, received, self._settings)
        work = Work(
            model=version.key,
            operation=operation,
            context=pack_context(request_id.get(), traceparent.get(), parameters),
            payload=payload,
            cost=_COST,
            received=received,
            deadline=deadline,
            queue=version.queue,
        )
        submitted = self._submissions.submit(work, longest_wait)
        del payload, work
        answer, log_fields = await submitted
        note(**log_fields)
        return answer

    def _check(self, version: ModelVersion, operation: str, size: int) -> None:
        limit = self._settings.max_request_bytes
        if size > limit:
            raise MessageTooLarge(
                f"The input has {size} bytes; the limit is {limit}, FACET_MAX_REQUEST_BYTES of the backend."
            )
        operations = (version.card or {}).get("operations", ())
        if operation not in operations:
            raise no_operation(version.name, operation, operations)
