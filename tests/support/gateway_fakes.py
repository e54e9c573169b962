"""A backend made by hand for tests of the gateway without processes."""

import threading

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
from utils.service_client import Cancellation
from utils.settings import Settings

FACE = Face(
    Box(Point(10.5, 0.0), Point(99.25, 120.0)),
    Landmarks(Point(30, 40), Point(70, 40), Point(50, 60), Point(35, 90), Point(65, 90)),
    0.9987654321987,
)


class FakeBackend:
    """Answers every picture with one face, or with `failure`; remembers what it was asked."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.requests: list[DetectRequest] = []
        self.timeouts: list[float | None] = []
        self.timeouts_named: list[bool] = []
        self.request_ids: list[str] = []
        self.probes = 0
        self.not_ready: FacetError | None = None
        self.holding: threading.Event | None = None
        """Where set, a detection waits for it."""
        self.held = threading.Semaphore(0)
        """Released by each detection that begins."""

    def detect(
        self,
        request: DetectRequest,
        *,
        timeout: float | None = None,
        timeout_named: bool = True,
        request_id: str = "",
        traceparent: str = "",  # noqa: ARG002 - the protocol's
        cancellation: Cancellation | None = None,  # noqa: ARG002 - the protocol's
    ) -> Detection:
        self.requests.append(request)
        self.timeouts.append(timeout)
        self.timeouts_named.append(timeout_named)
        self.request_ids.append(request_id)
        self.held.release()
        if self.holding is not None:
            assert self.holding.wait(30)
        if self.failure is not None:
            raise self.failure
        return Detection(
            faces=(FACE,),
            image=ImageInfo(200, 150, 6),
            model=ModelInfo("mtcnn", "1.0.0", "onnx"),
            timings=Timings(0.0, 1.5, 20.123456789, 21.75),
            image_id=request.image_id,
            metadata=request.metadata,
        )

    def check_ready(self, *, timeout: float | None = None) -> None:
        self.probes += 1
        assert timeout is not None
        assert timeout <= 1
        if self.not_ready is not None:
            raise self.not_ready


def app_for(backend: FakeBackend, **environ: str) -> Flask:
    """The gateway before this backend, with these settings."""
    return create_app(Settings.from_environ(environ), backend)
