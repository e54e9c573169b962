"""Rules of the tests themselves on a CPU that lacks an instruction set."""

import os
import subprocess
import sys

import pytest

from tests.support.processes import ROOT

pytest.importorskip("facet_native", reason="the native engine could not be compiled here")

COLLECT = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
TESTS = ["tests/parity", "tests/unit/test_native_kernels.py", "tests/unit/test_detector_pipeline.py"]


def test_an_instruction_set_that_the_cpu_lacks_is_no_parameter_and_is_named() -> None:
    """In CI, too, where a test that was skipped for it would fail the run."""
    environ = {**os.environ, "CI": "true", "TEST_INSTRUCTION_SETS": "base"}
    run = subprocess.run(
        [*COLLECT, *TESTS], cwd=ROOT, env=environ, capture_output=True, text=True, check=True, timeout=120
    )
    *tests, summary = run.stdout.partition("not run, ")
    assert "base" in tests[0]
    assert not any(name in tests[0] for name in ("avx512", "avx2"))
    for name in ("avx512", "avx2"):
        assert f"not run, this CPU lacks it: the native engine with {name}" in "".join(tests[1:]) + summary
