"""The detectors under test, with models in the tests' own cache."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from inference_server.detector.choice import EngineUnavailable, choose
from inference_server.detector.convert import convert
from inference_server.detector.factory import create_detector
from inference_server.detector.pipeline import Detector
from inference_server.detector.weights import models_ready
from tests.parity.reference import cache_dir
from tests.support.instruction_sets import instruction_sets

ENGINES = ("onnx", *(f"native {name}" for name in instruction_sets()), "tensorflow")
"""Every engine, with every instruction set of this CPU; all of them must give the reference's detections."""

_SAMPLED = 5


@cache
def models() -> Path:
    """The cache folder of the tests, with the models in it."""
    if not models_ready(cache_dir()):
        convert(cache_dir())
    return cache_dir()


@cache
def detector(engine: str = "onnx", max_candidates: int = 20_000) -> Detector:
    """A detector, made once and shared by the tests of a process; one that cannot run here skips the test."""
    name, _, instruction_set = engine.partition(" ")
    try:
        return create_detector(
            choose(name, instruction_set or instruction_sets()[0]), models(), max_candidates
        )
    except EngineUnavailable as error:
        pytest.skip(str(error))


def share_of(engine: str, names: Sequence[str]) -> Sequence[str]:
    """The pictures that an engine has to see: all, or of many a fifth, for instruction sets but the best.

    What differs between instruction sets is the order of additions, not what is computed. The tensorflow
    engine sees a fifth, too: its networks are the reference's own, and slow.
    """
    lesser = engine.startswith("native") and not engine.endswith(instruction_sets()[0])
    return names[::_SAMPLED] if (lesser or engine == "tensorflow") and len(names) >= 100 else names
