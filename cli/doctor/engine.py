"""What searches pictures here, and why."""

import time
from collections.abc import Iterator

from cli.doctor.findings import Finding
from utils.settings import Settings

_COMPILER_HELPS = "Install a C++ compiler (on Debian: apt-get install g++ python3-dev), then `make setup`."


def look_at_engine(settings: Settings) -> Iterator[Finding]:
    """The engine that a worker would choose, and whether it finds the face in the built-in picture."""
    from inference_server.detector.choice import EngineUnavailable, choose  # noqa: PLC0415 - loads what computes
    from inference_server.detector.weights import models_ready  # noqa: PLC0415

    try:
        choice = choose(settings.engine, settings.native_isa)
    except EngineUnavailable as error:
        yield Finding("error", "engine", str(error), "FACET_ENGINE=auto takes what runs here.")
        return
    name = " ".join(filter(None, (choice.engine, choice.instruction_set)))
    if choice.degraded:
        yield Finding("warning", "engine", f"{name}: {choice.reason}", _COMPILER_HELPS)
    else:
        yield Finding("ok", "engine", f"{name}: {choice.reason}")
    if models_ready(settings.cache_dir):
        yield _self_test(settings)
    else:
        yield Finding("note", "networks", f"not in {settings.cache_dir} yet; the first start puts them there")


def _self_test(settings: Settings) -> Finding:
    started = time.monotonic()
    try:
        from inference_server.models.face_detection import FaceDetection  # noqa: PLC0415 - loads what computes
    except ModuleNotFoundError as error:
        return Finding("error", "networks", f"cannot be loaded: {error}")
    try:
        FaceDetection.build(settings)
    except FaceDetection.permanent_errors as error:
        again = f"Remove {settings.cache_dir}: the next start makes it anew."
        return Finding("error", "networks", str(error), again)
    took = (time.monotonic() - started) * 1000
    return Finding("ok", "networks", f"loaded, and the face in the built-in picture found, in {took:.0f} ms")
