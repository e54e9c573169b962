"""A model as its process hosts it: requests of any operation in, answers and errors out."""

import logging
import time
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from facet_serving import Model
from inference_server.catalogue.entries import ModelVersion
from inference_server.catalogue.names import check_version
from inference_server.dispatch.consumer import Checkpoint, Outcome
from inference_server.dispatch.work import Work
from inference_server.models.calls import Batch, Call, Item, batches, least_bytes
from inference_server.models.encoding import no_operation, pack_answer, pack_error, unpack_context
from inference_server.models.encodings import inference
from inference_server.models.encodings.columns import SchemaTensors
from inference_server.models.encodings.tensors import Rows, TensorInterface
from inference_server.models.loading import load_model, read_lock
from inference_server.models.operations import Operation, operations_of
from inference_server.models.schema import Schema
from utils.errors import (
    AnswerTooLarge,
    DeadlineExceeded,
    FacetError,
    ModelFailed,
    ModelNotReady,
)
from utils.logs import fields
from utils.status import RETRY_SECONDS

logger = logging.getLogger(__name__)

_FAILED = "The model failed on this input. The log has the details."


def load(version: ModelVersion, max_answer_bytes: int) -> "LoadedModel":
    """Load a version of a model; where it has no number yet, the model's own counts.

    Args:
        version: It.
        max_answer_bytes: Of the largest answer that it may give.

    Raises:
        InvalidModel: The source is no model, or its schema cannot be had in protobuf; names the field.
        ModelLoadFailed: It raised something else.
    """
    model = load_model(version.source)
    schema = Schema(version.name, model.Input, model.Output, read_lock(version.source))
    return LoadedModel(version, model, schema, max_answer_bytes)


class LoadedModel:
    """A version of a model that was loaded.

    Args:
        version: What the catalogue says of it.
        model: Loaded.
        schema: Of its inputs and outputs.
        max_answer_bytes: Of the largest answer that it may give.

    Attributes:
        key: Its name and version, `NAME/VERSION`.
        max_batch: Inputs that are computed at once, at most: the operator's number, else the model's own.
        card: What others know of it, as JSON can have it: all that a worker needs to describe and to call it.
        out_of_memory: Whether it has met the limit of memory: its process should be replaced.
    """

    def __init__(self, version: ModelVersion, model: Model, schema: Schema, max_answer_bytes: int) -> None:
        number = check_version(version.version or model.version)
        self.key = f"{version.name}/{number}"
        self.max_batch = version.settings.max_batch if version.settings.max_batch > 1 else model.max_batch
        self.out_of_memory = False
        self._model = model
        self._schema = schema
        self._max_answer_bytes = max_answer_bytes
        tensors = getattr(model, "tensors", None)
        if not isinstance(tensors, TensorInterface):
            tensors = SchemaTensors(schema)
        by_tensors = inference.operations_of(self.key, tensors, self.max_batch)
        self._operations: dict[str, Operation | inference.InferenceOperation] = {
            **operations_of(schema),
            **by_tensors,
        }
        self.card = {
            "name": version.name,
            "version": number,
            "display_name": model.display_name or version.name,
            "description": model.description,
            "kind": version.source.kind,
            "max_batch": self.max_batch,
            "operations": [*self._operations],
            "tensors": tensors.describe(),
            **schema.card(),
        }

    def handle(self, works: Sequence[Work], checkpoint: Checkpoint = lambda: None) -> list[Outcome]:
        """Answer requests, each on its own: what is wrong with one is no other's error.

        Inputs of all of them are computed together, at most `max_batch` at once. Where that fails, each is
        computed alone.

        Args:
            works: The requests.
            checkpoint: Called before each computation. What it raises ends them: there is one request then.

        Raises:
            Abandoned: From the checkpoint: nobody wants the answer any more.
        """
        started = time.monotonic()
        calls = [self._begin(work) for work in works]
        try:
            wanted = (item for call in calls for item in call.items if call.error is None)
            for batch in batches(wanted, self.max_batch):
                self._compute(batch, checkpoint)
        except DeadlineExceeded as error:
            for call in calls:
                call.error = call.error or error
        return [self._finish(call, started) for call in calls]

    encode_error = staticmethod(pack_error)
    """The answer that tells a caller of an error."""

    def _begin(self, work: Work) -> Call:
        call = Call(work)
        try:
            request_id, traceparent, parameters = unpack_context(work.context)
            call.names = {"request_id": request_id, "traceparent": traceparent or None}
            if work.model != self.key:
                # Its version is gone, and the number of its queue was given to this one.
                raise ModelNotReady(f"The model {work.model} is served no longer.", retry_after=RETRY_SECONDS)
            operation = self._operations.get(work.operation)
            if operation is None:
                raise no_operation(self.card["name"], work.operation, self._operations)
            call.items_name = operation.items
            inputs, call.encode = operation.open(work.payload, parameters)
            call.items = [Item(call, number, value) for number, value in enumerate(inputs)]
        except BaseException as error:  # noqa: BLE001 - an author's validators may raise anything
            call.error = self._told(error, call)
        return call

    def _compute(self, items: Sequence[Item], checkpoint: Checkpoint) -> None:
        """Have the model answer inputs, or note why it did not."""
        checkpoint()
        started = time.monotonic()
        try:
            outputs = self._predict([item.value for item in items])
        except BaseException as error:  # SystemExit, too, is this input's failure alone
            if len(items) == 1:
                self._note(items[0], error)
                return
            if not isinstance(error, FacetError):
                logger.warning("batch failed", exc_info=error, extra=fields(model=self.key, batch=len(items)))
            for item in items:
                self._compute([item], checkpoint)
            return
        batch = Batch(sum(item.size for item in items), (time.monotonic() - started) * 1000)
        for item, output in zip(items, outputs, strict=True):
            item.batch = batch
            try:
                # Arrays are what their model says they are.
                item.output = output if isinstance(output, Rows) else self._schema.output.check(output)
                self._check_held(item)
            except BaseException as error:  # noqa: BLE001 - an author's validators may raise anything
                self._note(item, error)

    def _predict(self, inputs: list[Any]) -> list[Any]:
        outputs = list(self._model.predict(inputs))
        if len(outputs) != len(inputs):
            raise ValueError(f"predict gave {len(outputs)} outputs for {len(inputs)} inputs")
        return outputs

    def _note(self, item: Item, error: BaseException) -> None:
        told = self._told(error, item.call)
        if item.call.items_name:
            told.field = f"{item.call.items_name}.{item.number}"
        item.call.error = item.call.error or told

    def _finish(self, call: Call, started: float) -> Outcome:
        if call.error is None:
            try:
                return Outcome(pack_answer(self._encoded(call), call.log_fields(started)), complete=True)
            except Exception as error:  # noqa: BLE001 - it is too large, or its author's code has changed it
                call.error = self._told(error, call)
        return Outcome(pack_error(call.error), complete=False)

    def _encoded(self, call: Call) -> bytes:
        assert call.encode is not None
        answer = call.encode([item.output for item in call.items if item.output is not None])
        self._check_size(len(answer), call)
        return answer

    def _check_held(self, item: Item) -> None:
        """Refuse a request whose outputs, each of which may be small, are held until all are there."""
        call = item.call
        if len(call.items) > 1 and call.error is None:
            call.answer_bytes += least_bytes(item.output)
            self._check_size(call.answer_bytes, call)

    def _check_size(self, size: int, call: Call) -> None:
        if size > self._max_answer_bytes:
            logger.error("answer too large", extra=fields(model=self.key, bytes=size, **call.names))
            raise AnswerTooLarge(
                f"The answer has at least {size} bytes; the limit is {self._max_answer_bytes}, the larger "
                "one of FACET_MAX_REQUEST_BYTES and FACET_MAX_IMAGE_BYTES of the backend."
            )

    def _told(self, error: BaseException, call: Call) -> FacetError:
        """What a caller is told of an error; what it is not told is logged."""
        if isinstance(error, FacetError):
            return error
        if isinstance(error, ValidationError):
            reason = f"{error.title} is not valid: {_faults(error)}"
            logger.error("model failed", extra=fields(model=self.key, reason=reason, **call.names))
        else:
            self.out_of_memory = self.out_of_memory or isinstance(error, MemoryError)
            logger.error("model failed", exc_info=error, extra=fields(model=self.key, **call.names))
        return ModelFailed(_FAILED)


def _faults(error: ValidationError) -> str:
    """Without the values, which are nobody's business but the caller's."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults[:3])
