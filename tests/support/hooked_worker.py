"""A worker whose detector does what the picture's first pixel says: for tests of faults, and of balance.

    red     end the process, as a fault in native code would
    green   hang: no progress, and no checkpoint
    blue    sleep for `min_face_size` milliseconds, looking at the checkpoint; then find one face
    yellow  the same for an hour: until nobody wants it any more
    else    detect, really

`python -m tests.support.hooked_worker` is a worker, `python -m tests.support.hooked_backend` a backend of
such workers. One that answers what has been answered already says so in the log. If the file named by
TEST_DIE_BEFORE_CLAIM exists, the first worker that takes a request removes it and is killed between
receiving the request and claiming it.
"""

import contextlib
import ctypes
import logging
import os
import signal
import time
from pathlib import Path

from inference_server import worker
from inference_server.detector.engine import Image
from inference_server.dispatch.consumer import Checkpoint
from inference_server.dispatch.request_buffer import RequestBuffer
from inference_server.models.face_detection import FaceDetection, FaceDetector
from utils.domain import Box, DetectOptions, Face, Landmarks, ModelInfo, Point
from utils.settings import Settings

logger = logging.getLogger(__name__)

RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
_STEP_SECONDS = 0.01


class HookedDetector:
    """A detector with hooks for tests."""

    def __init__(self, real: FaceDetector) -> None:
        self._real = real

    @property
    def model(self) -> ModelInfo:
        return self._real.model

    def detect(self, image: Image, options: DetectOptions, checkpoint: Checkpoint) -> tuple[Face, ...]:
        """Do what the first pixel says."""
        pixel = tuple(image[0, 0].tolist())
        if pixel == RED:
            ctypes.string_at(0)  # a segmentation fault in this very thread
        if pixel == GREEN:
            time.sleep(3600)
        if pixel == BLUE:
            sleep(options.min_face_size / 1000, checkpoint)
            return (face(os.getpid()),)
        if pixel == YELLOW:
            sleep(3600, checkpoint)
        return self._real.detect(image, options, checkpoint)


def sleep(seconds: float, checkpoint: Checkpoint) -> None:
    """Take so long without the CPU, looking at the checkpoint every 10 ms as a real detection does."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _STEP_SECONDS))
        checkpoint()


def face(pid: int, count: int = 0) -> Face:
    """A face that says who found it: its nose is at the process's id, and a count."""
    nowhere = Point(0.0, 0.0)
    nose = Point(float(pid), float(count))
    return Face(Box(nowhere, nowhere), Landmarks(nowhere, nowhere, nose, nowhere, nowhere), 1.0)


def build(settings: Settings) -> FaceDetection:
    """Build the real model, and put the hooks before its detector."""
    model = FaceDetection.build(settings)
    model.detector = HookedDetector(model.detector)
    return model


def die_before_claim(token: Path) -> None:
    """Be killed once between receiving a request and claiming it."""
    claim = RequestBuffer.claim

    def hooked(buffer: RequestBuffer, slot: int, generation: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            token.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        claim(buffer, slot, generation)

    RequestBuffer.claim = hooked  # type: ignore[method-assign, assignment]


def tell_second_answers() -> None:
    """Log an error whenever a request is answered that has an answer: somebody has computed it in vain."""
    reply = RequestBuffer.reply

    def hooked(buffer: RequestBuffer, slot: int, answer: bytes) -> None:
        if buffer.head().answered:
            logger.error("answered twice")
        reply(buffer, slot, answer)

    RequestBuffer.reply = hooked  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    tell_second_answers()
    if "TEST_DIE_BEFORE_CLAIM" in os.environ:
        die_before_claim(Path(os.environ["TEST_DIE_BEFORE_CLAIM"]))
    worker.main(build)
