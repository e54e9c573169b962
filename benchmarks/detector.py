"""How fast the detector is beside the reference, and how much memory a large picture takes.

    python -m benchmarks.detector [ROUNDS]

One thread each, in turn on each picture; the figure is the median of the rounds' times. Pictures are drawn
from the portrait in `examples/`: `few` shows one face, `many` a crowd. The largest picture that is accepted
by default, 25 megapixels, is detected in a process of its own, whose peak memory is reported.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
import numpy.typing as npt
from PIL import Image

from inference_server.detector.convert import convert
from inference_server.detector.factory import create_detector
from inference_server.detector.pipeline import Detector
from inference_server.detector.weights import models_ready
from utils.settings import Settings

Pixels = npt.NDArray[np.uint8]

SIZES = ((320, 240), (640, 480), (1280, 720), (1920, 1080))
LARGE = (6124, 4082)

_ASTRONAUT = Path(__file__).parent.parent / "examples" / "astronaut.png"
_HEAD = (150, 40, 310, 240)
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}


def few(width: int, height: int) -> Pixels:
    """The portrait as high as the picture, on a part of itself."""
    with Image.open(_ASTRONAUT) as file:
        portrait = file.convert("RGB")
    canvas = portrait.crop((300, 250, 512, 512)).resize((width, height), Image.Resampling.BICUBIC)
    canvas.paste(portrait.resize((height, height), Image.Resampling.LANCZOS), ((width - height) // 2, 0))
    return np.ascontiguousarray(canvas)


def many(width: int, height: int) -> Pixels:
    """Rows of heads, a dozen in each, of slightly different sizes."""
    with Image.open(_ASTRONAUT) as file:
        portrait = file.convert("RGB")
    canvas = portrait.crop((300, 250, 512, 512)).resize((width, height), Image.Resampling.BICUBIC)
    head, wide = portrait.crop(_HEAD), width // 14
    for number in range(12 * (height // (wide * 3 // 2))):
        row, column = divmod(number, 12)
        size = wide + number % 5 * wide // 20
        scaled = head.resize((size, size * 5 // 4), Image.Resampling.LANCZOS)
        canvas.paste(scaled, (column * width // 12 + 2, row * wide * 3 // 2 + 2))
    return np.ascontiguousarray(canvas)


def measure_speed(rounds: int) -> None:
    """Print the table of times and ratios, and their geometric mean."""
    package, detector = _package(), _detector()
    print("| picture | faces | mtcnn 1.0.0 | onnx | ratio |\n|---|---|---|---|---|")
    ratios = []
    for width, height in SIZES:
        for draw in (few, many):
            pixels = draw(width, height)
            faces = len(detector.detect(pixels))
            slow, fast = _medians(rounds, partial(package, pixels), partial(detector.detect, pixels))
            ratios.append(slow / fast)
            name = f"{width} x {height}, {draw.__name__}"
            print(f"| {name} | {faces} | {slow * 1e3:.1f} ms | {fast * 1e3:.1f} ms | {slow / fast:.2f}x |")
    print(f"\nGeometric mean: {statistics.geometric_mean(ratios):.2f}x")


def measure_memory() -> None:
    """Print the peak memory of this process, after start and after the largest picture."""
    detector = _detector()
    detector.detect(many(640, 480))
    before = getrusage(RUSAGE_SELF).ru_maxrss
    width, height = LARGE
    pixels = np.tile(few(640, 480), (height // 480 + 1, width // 640 + 1, 1))  # cheaper than drawing it large
    pixels = np.ascontiguousarray(pixels[:height, :width])
    drawn = getrusage(RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    faces = len(detector.detect(pixels))
    seconds = time.perf_counter() - start
    peak = getrusage(RUSAGE_SELF).ru_maxrss
    print(
        f"Peak memory of a process: {before / 1024:.0f} MiB after 640 x 480, {peak / 1024:.0f} MiB after "
        f"{width} x {height}, of which {drawn / 1024:.0f} MiB were reached by drawing it "
        f"({pixels.nbytes / 2**20:.0f} MiB decoded, {faces} faces, {seconds:.1f} s)"
    )


def _medians(rounds: int, *contenders: Callable[[], object]) -> list[float]:
    """Seconds that each takes, all of them in turn in every round, after one to warm up."""
    times: list[list[float]] = [[] for _ in contenders]
    for number in range(rounds + 1):
        for run, taken in zip(contenders, times, strict=True):
            start = time.perf_counter()
            run()
            if number:
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def _package() -> Callable[[Pixels], object]:
    import tensorflow as tf  # noqa: PLC0415 - the memory measurement must not load it
    from mtcnn import MTCNN  # noqa: PLC0415

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    detect: Callable[[Pixels], object] = MTCNN().detect_faces
    return detect


def _detector() -> Detector:
    cache_dir = Settings().cache_dir
    if not models_ready(cache_dir):
        convert(cache_dir)
    return create_detector("onnx", cache_dir, max_candidates=20_000)


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def main(arguments: list[str]) -> None:
    """Measure in processes whose libraries use one thread."""
    if arguments[:1] == ["speed"]:
        return measure_speed(int(arguments[1]))
    if arguments[:1] == ["memory"]:
        return measure_memory()
    versions = [f"{name} {version(name)}" for name in ("mtcnn", "numpy", "onnxruntime")]
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {_cpu()}, Python {platform.python_version()}, {', '.join(versions)}"
    )
    print("One thread, interleaved.\n", flush=True)
    for task in (["speed", *(arguments or ["7"])], ["memory"]):
        command = [sys.executable, "-m", "benchmarks.detector", *task]
        subprocess.run(command, check=True, env={**os.environ, **_ONE_THREAD})
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
