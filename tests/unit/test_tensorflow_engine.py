"""The tensorflow engine: the package's networks with our weights, where they are wanted and there."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from inference_server.detector import choice
from inference_server.detector.choice import EngineUnavailable, choose
from inference_server.detector.flat import flat_weights, package_weights
from inference_server.detector.weights import NETWORKS, read_weights
from tests.parity.engines import models


@pytest.mark.parametrize("network", NETWORKS)
def test_the_weights_of_the_cache_are_the_packages(network: str) -> None:
    """Bit by bit and in the same order, but for the logits, of which only the difference matters."""
    expected = joblib.load(io.BytesIO(read_weights(network)))
    found = package_weights(flat_weights(expected), [array.shape for array in expected])
    assert [array.shape for array in found] == [array.shape for array in expected]
    assert all(np.array_equal(*pair) for pair in zip(found[:-2], expected[:-2], strict=True))
    for ours, theirs in zip(found[-2:], expected[-2:], strict=True):
        assert np.array_equal(ours[..., 1], theirs[..., 1] - theirs[..., 0])
        assert not ours[..., 0].any()


def test_a_worker_with_this_engine_unpickles_nothing_and_leaves_no_trace(tmp_path: Path) -> None:
    """It takes the package's classes, one thread and no GPU, prints nothing, and makes no file at home."""
    code = (
        "import os, pathlib, pickle, sys\n"
        "from inference_server.detector.choice import choose\n"
        "choose('tensorflow')\n"
        "assert 'tensorflow' not in sys.modules\n"
        "from inference_server.detector.factory import create_detector, self_test\n"
        "import joblib\n"
        "joblib.load = pickle.load = pickle.loads = lambda *_: sys.exit('something was unpickled')\n"
        "self_test(create_detector(choose('tensorflow'), pathlib.Path(sys.argv[1]), 20000))\n"
        "import tensorflow\n"
        "threading = tensorflow.config.threading\n"
        "assert threading.get_intra_op_parallelism_threads() == 1\n"
        "assert threading.get_inter_op_parallelism_threads() == 1\n"
        "assert not tensorflow.config.list_physical_devices('GPU')\n"
        "assert not {'onnx', 'onnxruntime', 'facet_native'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = [sys.executable, "-c", code, str(models())]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (output.returncode, output.stdout + output.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["tensorflow", "mtcnn"])
def test_without_its_packages_this_engine_is_a_clear_error(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the setting, the package, and what installs it."""

    def find_spec(name: str) -> Any:  # noqa: ANN401 - as importlib has it
        return None if name == package else object()

    monkeypatch.setattr(choice, "find_spec", find_spec)
    with pytest.raises(EngineUnavailable, match=f"FACET_ENGINE is 'tensorflow'.*{package} .*make setup"):
        choose("tensorflow")


@pytest.mark.parametrize(
    ("cpuinfo", "runs"),
    [
        ("flags\t\t: fpu sse2 avx\n", True),
        ("flags\t\t: fpu sse2 avx512f\n", False),
        ("Features\t: fp asimd\n", True),
    ],
)
def test_a_cpu_on_which_its_import_would_abort_is_a_clear_error(
    cpuinfo: str, runs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its builds for x86 need AVX; the message names the setting and what is missing."""
    fake = tmp_path / "cpuinfo"
    fake.write_text("processor\t: 0\n" + cpuinfo)
    monkeypatch.setattr(choice, "_CPUINFO", fake)
    if runs:
        assert choose("tensorflow").engine == "tensorflow"
    else:
        with pytest.raises(EngineUnavailable, match=r"FACET_ENGINE is 'tensorflow'.*AVX"):
            choose("tensorflow")


def test_tensorflow_is_only_taken_where_it_is_named() -> None:
    """Then it is no second best, however slow."""
    assert choose("auto").engine != "tensorflow"
    assert (choose("tensorflow").engine, choose("tensorflow").degraded) == ("tensorflow", False)
