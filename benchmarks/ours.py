"""Facet's engines as contenders."""

import os
from copy import copy
from typing import Any

from benchmarks.contest import Contender, Found, Unavailable, one_thread_of_tensorflow
from benchmarks.staged import Staged, sampling, tiles
from inference_server.detector.choice import EngineUnavailable, choose
from inference_server.detector.convert import convert
from inference_server.detector.factory import create_detector
from inference_server.detector.weights import models_ready
from tests.support.pictures import Pixels
from utils.domain import Face
from utils.settings import Settings

# Nothing that is measured is to be refused.
_MAX_CANDIDATES = 1_000_000


class Facet(Contender):
    """An engine of ours."""

    def __init__(self, engine: str, instruction_set: str = "auto") -> None:
        cache_dir = Settings.from_environ(os.environ).cache_dir
        if not models_ready(cache_dir):
            convert(cache_dir)
        if engine == "tensorflow":
            one_thread_of_tensorflow()
        try:
            self.detector = create_detector(choose(engine, instruction_set), cache_dir, _MAX_CANDIDATES)
        except EngineUnavailable as error:
            raise Unavailable(str(error)) from error
        self.version = getattr(self.detector._engine, "instruction_set", "")
        self._staged = Staged(self.detector._engine)
        self._in_stages = copy(self.detector)
        self._in_stages._engine = self._staged

    def detect(self, picture: Pixels) -> tuple[Face, ...]:
        """Detect."""
        return self.detector.detect(picture)

    def in_stages(self, picture: Pixels) -> tuple[Face, ...]:
        """Detect, and keep what the stages took."""
        return self._in_stages.detect(picture)

    def seen(self, picture: Pixels) -> dict[str, Any]:
        """What the stages of the last detection took, and what they saw of this picture."""
        seen = self._staged.seen
        return {
            "tiles": tiles(self.detector._engine),
            "stages": seen.seconds,
            "sampling": sampling(self.detector._engine, picture, seen),
            "levels": seen.levels,
            "candidates": {stage: seen.candidates(stage) for stage in seen.boxes},
        }

    def faces(self, result: tuple[Face, ...]) -> list[Found]:
        """In their order."""
        return [_of_domain(face) for face in result]


def _of_domain(face: Face) -> Found:
    box, marks = face.box, face.landmarks
    points = (marks.left_eye, marks.right_eye, marks.nose, marks.mouth_left, marks.mouth_right)
    corners = (box.up_left.x, box.up_left.y, box.lower_right.x, box.lower_right.y)
    return Found(corners, face.confidence, [(point.x, point.y) for point in points])
