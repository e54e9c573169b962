"""What the detector thread does with one request: decode, detect, and write the answer."""

import logging
import time
from typing import Protocol

from inference_server import images
from inference_server.contents import pack_detection, pack_error, unpack_context
from inference_server.detector.engine import Image
from inference_server.dispatch.consumer import Checkpoint, Outcome
from inference_server.dispatch.envelope import Abandoned
from inference_server.dispatch.work import Work
from utils.domain import Detection, DetectOptions, Face, ImageInfo, ModelInfo, Timings
from utils.errors import FacetError, InternalError
from utils.logs import fields

logger = logging.getLogger(__name__)


class FaceDetector(Protocol):
    """What is needed of inference_server.detector.pipeline.Detector."""

    @property
    def model(self) -> ModelInfo:
        """What finds the faces."""

    def detect(self, image: Image, options: DetectOptions, checkpoint: Checkpoint) -> tuple[Face, ...]:
        """Find the faces of an upright RGB picture, most confident first."""


class Computer:
    """Computes answers, one at a time.

    Args:
        detector: Finds the faces.
        max_pixels: Largest picture that is decoded.
    """

    def __init__(self, detector: FaceDetector, max_pixels: int) -> None:
        self._detector = detector
        self._max_pixels = max_pixels

    def answer(self, work: Work, checkpoint: Checkpoint) -> Outcome:
        """Compute an answer; whatever fails is an answer too.

        Raises:
            Abandoned: Nobody wants it any more.
        """
        try:
            options, names = unpack_context(work)
            try:
                answer = pack_detection(self._detect(work, options, checkpoint))
            except (Abandoned, FacetError):
                raise
            except Exception:
                logger.exception("detection failed", extra=fields(**names))
                raise InternalError from None
        except FacetError as error:
            return Outcome(pack_error(error), complete=False)
        return Outcome(answer, complete=True)

    def _detect(self, work: Work, options: DetectOptions, checkpoint: Checkpoint) -> Detection:
        started = time.monotonic()
        pixels, orientation = images.decode(work.payload, self._max_pixels)
        decoded = time.monotonic()
        checkpoint()
        faces = self._detector.detect(pixels, options, checkpoint)
        ended = time.monotonic()
        return Detection(
            faces=faces,
            image=ImageInfo(pixels.shape[1], pixels.shape[0], orientation),
            model=self._detector.model,
            timings=Timings(
                queue_ms=(started - work.received) * 1000,
                decode_ms=(decoded - started) * 1000,
                detect_ms=(ended - decoded) * 1000,
                total_ms=(ended - work.received) * 1000,
            ),
        )
