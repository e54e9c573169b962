"""A worker whose detector sleeps: what is left of a request's time is the service's own.

It sleeps for `threshold_output` seconds and finds one face, whose nose says who found it: its x is the
process id, its y counts the detections that this process has begun.
"""

import os
import time

from inference_server import images, worker
from inference_server.detector.engine import Image
from inference_server.dispatch.consumer import Checkpoint
from utils.domain import Box, DetectOptions, Face, Landmarks, ModelInfo, Point
from utils.settings import Settings

_STEP_SECONDS = 0.01


class SleepingDetector:
    """A detector that uses no CPU."""

    model = ModelInfo("sleeping", "0", "none")

    def __init__(self) -> None:
        self._begun = 0

    def detect(self, _image: Image, options: DetectOptions, checkpoint: Checkpoint) -> tuple[Face, ...]:
        """Sleep, looking at the checkpoint every 10 ms as a real detection does."""
        self._begun += 1
        end = time.monotonic() + options.threshold_output
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _STEP_SECONDS))
            checkpoint()
        nowhere = Point(0.0, 0.0)
        nose = Point(float(os.getpid()), float(self._begun))
        return (Face(Box(nowhere, nowhere), Landmarks(nowhere, nowhere, nose, nowhere, nowhere), 1.0),)


def boot(_settings: Settings) -> SleepingDetector:
    """Build it."""
    images.load_decoders()
    return SleepingDetector()


if __name__ == "__main__":
    worker.main(boot)
