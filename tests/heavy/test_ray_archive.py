"""An archive searched by examples/ray_archive.py: killed in the middle, and started again."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from benchmarks.pictures import assortment
from tests.heavy.conftest import Note
from tests.support.client_environment import NotInstalled
from tests.support.processes import ROOT, running, wait_until
from tests.support.ray_cluster import START_SECONDS, cluster, environment

PICTURES = 100
CPUS = 6
"""That Ray is told of, as the program says."""
_COUNT = """
import sys
from pyarrow import parquet
rows = parquet.read_table(sys.argv[1], columns=["path", "faces", "reason"]).to_pylist()
paths = [row["path"] for row in rows]
print(len(paths), len({*paths}), sum(row["faces"] for row in rows), sum(row["reason"] != "" for row in rows))
"""


@pytest.mark.timeout(1800)
def test_an_archive_that_is_killed_in_the_middle_has_every_picture_once(tmp_path: Path, figure: Note) -> None:
    """The program is ended by kill -9 when it has some results; started again, it searches what is left."""
    try:
        environment()
    except NotInstalled as error:
        pytest.skip(str(error))
    pictures, results = tmp_path / "pictures", tmp_path / "results"
    pictures.mkdir()
    _, files = assortment(PICTURES - 1)
    for number, content in enumerate([*files, b"no picture"]):
        (pictures / f"{number:03}").write_bytes(content)
    command = ["python", str(ROOT / "examples" / "ray_archive.py"), str(pictures), str(results)]
    with cluster(CPUS) as ray:
        settings = {**ray.environ, "RAY_ADDRESS": ray.address}
        with running(command, tmp_path, **settings) as program:
            wait_until(
                lambda: any(results.glob("*.parquet")) or not program.alive(), "results", START_SECONDS
            )
            assert program.alive(), program.log()
            program.send(signal.SIGKILL)
            program.wait()
        before, *_ = counted(results, settings)
        assert 0 < before < PICTURES
        with running(command, tmp_path, **settings) as program:
            assert program.wait(START_SECONDS) == 0, program.log()
        rows, different, faces, refused = counted(results, settings)
    assert (rows, different, refused) == (PICTURES, PICTURES, 1)
    assert faces > 0
    figure("pictures that had results when the program was killed", str(before))
    figure("pictures that had results in the end, each once", str(rows))


def counted(results: Path, settings: dict[str, str]) -> list[int]:
    """Rows, different pictures, faces, and pictures that were refused."""
    said = subprocess.check_output(
        ["python", "-c", _COUNT, str(results)], env={**os.environ, **settings}, text=True, timeout=300
    )
    return [*map(int, said.split())]
