"""A backend made by hand for tests of the gateway without processes."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Unpack

from flask import Flask

from gateway import create_app
from utils.domain import (
    Box,
    Detection,
    DetectRequest,
    Face,
    ImageInfo,
    Landmarks,
    ModelInfo,
    Point,
    Timings,
)
from utils.errors import FacetError
from utils.extras import Picture, Quality, Wanted
from utils.models import ModelDescription, Prediction
from utils.service_client import BlockingCallOptions
from utils.settings import Settings

FACE = Face(
    Box(Point(10.5, 0.0), Point(99.25, 120.0)),
    Landmarks(Point(30, 40), Point(70, 40), Point(50, 60), Point(35, 90), Point(65, 90)),
    0.9987654321987,
)

QUALITY = Quality(123.456789012, 100.5, 40.25, -3.5, 40.0)
CROP = Picture(b"a crop", "image/jpeg", 112, 112)
ANNOTATED = Picture(b"\xff\xd8 annotated", "image/jpeg", 200, 150)

MODELS = [
    ModelDescription("iris", "2.10", "loading", default=False, kind="onnx"),
    ModelDescription(
        name="iris",
        version="2.9",
        state="ready",
        default=True,
        display_name="Iris",
        description="Names a flower.",
        kind="python",
        max_batch=8,
        operations=("typed", "json", "multipart"),
        input_schema={"type": "object"},
        output_schema={"type": "object", "title": "Species"},
        descriptor=b"a descriptor",
        input_type="iris_input",
        output_type="iris_output",
    ),
]


class FakeBackend:
    """Answers every picture with one face and what is wanted, every input of a model with `{"answer": 1}`.

    An encoded input is its own answer. Or all fail with `failure`, or pictures with theirs in `failures`.
    Remembers what it was asked.
    """

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.failures: dict[bytes, Exception] = {}
        self.before: Callable[[DetectRequest], object] = lambda _request: None
        """Called for each picture; may raise."""
        self.requests: list[DetectRequest] = []
        self.predictions: list[tuple[str, str, str, bytes]] = []
        """Name, version, content type and content of each input of a model."""
        self.encoded: list[tuple[str, str, str, bytes, bytes]] = []
        """Name, version, operation, parameters and content of each encoded input."""
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        """Method and arguments of each question by the Open Inference Protocol."""
        self.told: dict[str, Any] = {}
        """The answer to each of them."""
        self.listed = MODELS
        """Every version of every model."""
        self.timeouts: list[float | None] = []
        self.timeouts_named: list[bool] = []
        self.request_ids: list[str] = []
        self.callers: list[str] = []
        self.probes = 0
        self.not_ready: FacetError | None = None
        self.holding: threading.Event | None = None
        """Where set, an answer waits for it."""
        self.held = threading.Semaphore(0)
        """Released by each call that begins."""

    def detect(self, request: DetectRequest, **options: Unpack[BlockingCallOptions]) -> Detection:
        self.requests.append(request)
        self._begin(options)
        self.before(request)
        if request.image in self.failures:
            raise self.failures[request.image]
        detection = Detection(
            faces=(FACE,),
            image=ImageInfo(200, 150, 6),
            model=ModelInfo("mtcnn", "1.0.0", "onnx"),
            timings=Timings(0.0, 1.5, 20.123456789, 21.75),
            image_id=request.image_id,
            metadata=request.metadata,
        )
        return detection if request.wanted.is_nothing else with_extras(detection, request.wanted)

    def predict_raw(
        self,
        name: str,
        content_type: str,
        content: bytes,
        *,
        version: str = "",
        **options: Unpack[BlockingCallOptions],
    ) -> Prediction:
        self.predictions.append((name, version, content_type, content))
        self._begin(options)
        return Prediction(name, version or "2.9", b'{"answer": 1}')

    def predict_encoded(
        self,
        name: str,
        operation: str,
        content: bytes,
        *,
        parameters: bytes = b"",
        version: str = "",
        **options: Unpack[BlockingCallOptions],
    ) -> Prediction:
        self.encoded.append((name, version, operation, parameters, content))
        self._begin(options)
        return Prediction(name, version or "2.9", content)

    def inference_protocol(
        self, method: str, arguments: Mapping[str, Any], **options: Unpack[BlockingCallOptions]
    ) -> dict[str, Any]:
        self.asked.append((method, arguments))
        self._begin(options)
        return self.told

    def models(self, **options: Unpack[BlockingCallOptions]) -> list[ModelDescription]:
        if "cancellation" in options:  # else the gateway itself wants to know, for any number of callers
            self._begin(options)
        elif self.failure is not None:
            raise self.failure
        return self.listed

    def describe(
        self, name: str, version: str = "", **options: Unpack[BlockingCallOptions]
    ) -> ModelDescription:
        self._begin(options)
        return next(
            one for one in MODELS if one.name == name and (one.version == version if version else one.default)
        )

    def _begin(self, options: BlockingCallOptions) -> None:
        """Remember what a call was told, wait where the test says so, and fail where it does."""
        assert options["cancellation"] is not None
        self.timeouts.append(options["timeout"])
        self.timeouts_named.append(options["timeout_named"])
        self.request_ids.append(options["request_id"])
        self.callers.append(options["caller"])
        self.held.release()
        if self.holding is not None:
            assert self.holding.wait(30)
        if self.failure is not None:
            raise self.failure

    def check_ready(self, *, timeout: float | None = None) -> None:
        self.probes += 1
        assert timeout is not None
        assert timeout <= 1
        if self.not_ready is not None:
            raise self.not_ready


def with_extras(detection: Detection, wanted: Wanted) -> Detection:
    """A detection with what is wanted beside its face."""
    crop = CROP if wanted.crops is not None else None
    face = replace(FACE, quality=QUALITY if wanted.quality else None, crop=crop)
    return replace(
        detection,
        faces=(face,),
        timings=replace(detection.timings, extras_ms=2.5),
        annotated=ANNOTATED if wanted.annotated is not None else None,
        crops_omitted=0 if wanted.crops is not None else None,
    )


def app_for(backend: FakeBackend, **environ: str) -> Flask:
    """The gateway before this backend, with these settings."""
    return create_app(Settings.from_environ(environ), backend)
