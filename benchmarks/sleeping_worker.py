"""A worker whose detector sleeps: what is left of a request's time is the service's own.

It sleeps for `threshold_output` seconds and finds one face, whose nose says who found it: its x is the
process id, its y counts the detections that this process has begun.
"""

import os

from inference_server import images, worker
from inference_server.detector.choice import Choice
from inference_server.detector.engine import Image
from inference_server.dispatch.consumer import Checkpoint
from inference_server.models.face_detection import FaceDetection
from tests.support.hooked_worker import face, sleep
from utils.domain import DetectOptions, Face, ModelInfo
from utils.settings import Settings


class SleepingDetector:
    """A detector that uses no CPU."""

    model = ModelInfo("sleeping", "0", "none")

    def __init__(self) -> None:
        self._begun = 0

    def detect(self, _image: Image, options: DetectOptions, checkpoint: Checkpoint) -> tuple[Face, ...]:
        """Sleep, and say who did."""
        self._begun += 1
        sleep(options.threshold_output, checkpoint)
        return (face(os.getpid(), self._begun),)


def build(settings: Settings) -> FaceDetection:
    """Build face detection with it."""
    images.load_decoders()
    return FaceDetection(SleepingDetector(), Choice("none", "", "it sleeps"), settings)


if __name__ == "__main__":
    worker.main(build)
