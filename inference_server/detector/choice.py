"""Which engine computes the networks, and why.

Each worker asks at its start, and tells the supervisor. This loads of the engines only the extension, which
is small; that a package is there is found without importing it.
"""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from utils.settings import ENGINES

_NAMED = "FACET_ENGINE names it"
_CPUINFO = Path("/proc/cpuinfo")


class EngineUnavailable(ValueError):
    """What was asked for cannot run here; the message is one line that says why."""


@dataclass(frozen=True)
class Choice:
    """An engine, and why it was taken.

    Attributes:
        engine: native, onnx or tensorflow.
        instruction_set: Of the native engine; empty for others.
        reason: One sentence for the log.
        degraded: Whether a faster engine was passed over because it cannot run.
    """

    engine: str
    instruction_set: str
    reason: str
    degraded: bool = False


def choose(engine: str = "auto", native_isa: str = "auto") -> Choice:
    """Choose the engine, and the instruction set of a native one.

    Args:
        engine: One of `utils.settings.ENGINES`; auto takes the fastest that runs here, which tensorflow
            never is.
        native_isa: One of `utils.settings.INSTRUCTION_SETS`; auto takes the best that the CPU has.

    Raises:
        EngineUnavailable: The engine or the instruction set that was named cannot run here.
    """
    if engine not in ENGINES:
        raise EngineUnavailable(f"there is no engine {engine!r}; accepted: {', '.join(ENGINES)}")
    if engine == "tensorflow":
        _require_tensorflow()
    if engine in {"onnx", "tensorflow"}:
        return Choice(engine, "", _NAMED)
    try:
        import facet_native  # noqa: PLC0415 - an extension that is there only where it could be compiled
    except ImportError as error:
        reason = f"the native engine is not available: {error}; make builds it where there is a C++ compiler"
        if engine == "native":
            raise EngineUnavailable(f"FACET_ENGINE is 'native', but {reason}") from error
        return Choice("onnx", "", reason, degraded=True)
    why = _NAMED if engine == "native" else "it is the fastest that runs here"
    return Choice("native", _instruction_set(native_isa, facet_native.instruction_sets()), why)


def _require_tensorflow() -> None:
    """Look for what it needs: importing it would take seconds, and ends the process on a CPU without AVX."""
    if _is_x86_without_avx(_CPUINFO.read_text()):
        raise EngineUnavailable(
            "FACET_ENGINE is 'tensorflow', whose builds need AVX, which this CPU lacks; auto runs on any"
        )
    for package in ("tensorflow", "mtcnn"):
        if find_spec(package) is None:
            raise EngineUnavailable(
                f"FACET_ENGINE is 'tensorflow', but {package} is not installed; make setup installs it"
            )


def _is_x86_without_avx(cpuinfo: str) -> bool:
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)  # which other CPUs call by other names
    return flags is not None and "avx" not in flags[1].split()


def _instruction_set(wanted: str, available: list[str]) -> str:
    """The one to use, of those that the CPU can run, best first."""
    if wanted == "auto":
        return available[0]
    if wanted not in available:
        raise EngineUnavailable(
            f"FACET_NATIVE_ISA is {wanted!r}, which this CPU cannot run; it can: {', '.join(available)}"
        )
    return wanted
