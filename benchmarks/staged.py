"""An engine that another one stands behind, and that keeps how long its stages take and what they see."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from inference_server.detector.engine import (
    Boxes,
    Cells,
    Checkpoint,
    Engine,
    Floats,
    Image,
    Prepared,
    no_checkpoint,
)
from inference_server.detector.scales import level_size

STAGES = ("proposal", "refinement", "output")

_SIDES = {"refinement": 24, "output": 48}

_Result = TypeVar("_Result")


@dataclass
class Seen:
    """What the engine did of one detection.

    Attributes:
        seconds: Of each of STAGES: P-Net with the pyramid, R-Net and O-Net each with its crops.
        levels: Width and height of each level that P-Net saw.
        boxes: What R-Net saw, and what O-Net saw, call by call.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    levels: list[tuple[int, int]] = field(default_factory=list)
    boxes: dict[str, list[Boxes]] = field(default_factory=lambda: {"refinement": [], "output": []})

    def candidates(self, stage: str) -> int:
        """How many boxes a stage saw."""
        return sum(map(len, self.boxes[stage]))


class Staged:
    """Times the stages of an engine; `seen` is of the last picture."""

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self.seen = Seen()
        self._engine = engine

    def prepare(self, image: Image, checkpoint: Checkpoint = no_checkpoint) -> "_Prepared":
        """Take in a picture, and begin to count."""
        self.seen = Seen()
        return _Prepared(self._engine.prepare(image, checkpoint), image, self.seen)


class _Prepared:
    def __init__(self, prepared: Prepared, image: Image, seen: Seen) -> None:
        self._prepared = prepared
        self._height, self._width = image.shape[:2]
        self._seen = seen

    def propose(self, scale: float, threshold: float) -> tuple[Cells, Floats, Floats]:
        self._seen.levels.append(level_size(self._width, self._height, scale))
        return self._timed("proposal", lambda: self._prepared.propose(scale, threshold))

    def refine(self, boxes: Boxes) -> tuple[Floats, Floats]:
        self._seen.boxes["refinement"].append(boxes)
        return self._timed("refinement", lambda: self._prepared.refine(boxes))

    def output(self, boxes: Boxes) -> tuple[Floats, Floats, Floats]:
        self._seen.boxes["output"].append(boxes)
        return self._timed("output", lambda: self._prepared.output(boxes))

    def _timed(self, stage: str, call: Callable[[], _Result]) -> _Result:
        started = time.perf_counter()
        result = call()
        self._seen.seconds[stage] += time.perf_counter() - started
        return result


def sampling(engine: Engine, image: Image, seen: Seen) -> dict[str, float]:
    """Seconds of the pyramid and of the crops alone, by stage, for an engine that can be asked for them.

    They are at most what these take within the stages, where their result is not written out.
    """
    networks: Any = getattr(engine, "networks", None)
    if networks is None:
        return {}
    started = time.perf_counter()
    for level in seen.levels:
        networks.resize(image, *level)
    seconds = {"proposal": time.perf_counter() - started}
    for stage, side in _SIDES.items():
        started = time.perf_counter()
        for boxes in seen.boxes[stage]:
            networks.crop(image, np.ascontiguousarray(boxes), side)
        seconds[stage] = time.perf_counter() - started
    return seconds


def tiles(engine: Engine) -> dict[str, list[int]]:
    """The tiles of an engine's convolutions, as `work.Tiles` has them; none where it cannot be asked."""
    networks: Any = getattr(engine, "networks", None)
    return {} if networks is None else dict(zip(STAGES, networks.tiles(), strict=True))
