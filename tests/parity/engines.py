"""The detectors under test, with models in the tests' own cache."""

from functools import cache
from pathlib import Path

from inference_server.detector.convert import convert
from inference_server.detector.factory import create_detector
from inference_server.detector.pipeline import Detector
from inference_server.detector.weights import models_ready
from tests.parity.reference import cache_dir

ENGINES = ("onnx",)
"""Every engine; all of them must give the reference's detections."""


@cache
def models() -> Path:
    """The cache folder of the tests, with the models in it."""
    if not models_ready(cache_dir()):
        convert(cache_dir())
    return cache_dir()


@cache
def detector(engine: str = "onnx", max_candidates: int = 20_000) -> Detector:
    """A detector, made once and shared by the tests of a process."""
    return create_detector(engine, models(), max_candidates)
