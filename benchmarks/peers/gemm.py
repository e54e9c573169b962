"""The matrix product whose rate is the floor of a detection's arithmetic."""

import numpy as np
import numpy.typing as npt

from benchmarks.contest import Contender, Found, Unavailable
from benchmarks.machine import cpu_flags
from tests.support.pictures import Pixels

SIDE = 2048

# Which of OpenBLAS's kernels have the instructions that ours have, and the CPU's flag that they need.
_KERNELS = {"avx512": ("SkylakeX", "avx512f"), "avx2": ("Haswell", "avx2")}


def environment(instruction_set: str) -> dict[str, str]:
    """What lets OpenBLAS take the kernels for an instruction set; by itself it takes those for the CPU."""
    return {"OPENBLAS_CORETYPE": _KERNELS[instruction_set][0]} if instruction_set else {}


class Gemm(Contender):
    """The matrix product whose rate is the floor: the time of one, whatever the picture."""

    def __init__(self, instruction_set: str = "") -> None:
        if instruction_set and _KERNELS[instruction_set][1] not in cpu_flags():
            raise Unavailable(f"this CPU has no {instruction_set}")
        self.version = np.__version__
        self._matrix: npt.NDArray[np.float32] = (
            np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float32)
        )
        self._product = np.empty_like(self._matrix)

    def taken(self, _pixels: Pixels) -> None:
        """No picture."""

    def detect(self, _picture: None) -> None:
        """Multiply."""
        np.matmul(self._matrix, self._matrix, out=self._product)

    def faces(self, _result: None) -> list[Found]:
        """None."""
        return []
