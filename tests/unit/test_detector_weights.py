"""The models in the cache folder: converted once, by a process of its own, and verified whenever read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference_server.detector import weights
from inference_server.detector.choice import choose
from inference_server.detector.convert import convert, main
from inference_server.detector.factory import create_detector, self_test
from inference_server.detector.weights import NETWORKS, WeightsError, model_path, models_ready, read_model
from tests.parity.engines import models


def start_converter(cache_dir: Path, **environment: str) -> subprocess.Popen[str]:
    """Run the converter as the supervisor does."""
    return subprocess.Popen(
        [sys.executable, "-m", "inference_server.detector.convert", str(cache_dir)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def files_of(cache_dir: Path) -> dict[str, bytes]:
    """Everything that the models' folder holds."""
    return {path.name: path.read_bytes() for path in weights.models_folder(cache_dir).iterdir()}


def test_conversion_makes_a_cache_that_detects(tmp_path: Path) -> None:
    """An empty folder is not ready; the converter makes it so, and ends with 0 and nothing to say."""
    cache_dir = tmp_path / "not" / "there"
    assert not models_ready(cache_dir)
    converter = start_converter(cache_dir)
    assert converter.communicate(timeout=60)[1] == ""
    assert converter.returncode == 0
    assert models_ready(cache_dir)
    self_test(create_detector(choose("onnx"), cache_dir, 20_000))


def test_conversions_at_the_same_time_each_end_with_a_complete_cache(tmp_path: Path) -> None:
    """And nothing temporary is left."""
    converters = [start_converter(tmp_path) for _ in range(3)]
    assert [converter.communicate(timeout=60)[1] for converter in converters] == ["", "", ""]
    assert [converter.returncode for converter in converters] == [0, 0, 0]
    assert models_ready(tmp_path)
    names = {f"{network}.{form}" for network in NETWORKS for form in ("onnx", "f32")}
    assert set(files_of(tmp_path)) == {"manifest.json", *names}


def test_conversion_gives_the_same_bytes_every_time(tmp_path: Path) -> None:
    """Only so may several starts replace each other's files."""
    convert(tmp_path / "one")
    convert(tmp_path / "two")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_a_ready_cache_is_left_alone(tmp_path: Path) -> None:
    """The next start writes nothing."""
    convert(tmp_path)
    before = model_path(tmp_path, "pnet").stat().st_mtime_ns
    assert main([str(tmp_path)]) == 0
    assert model_path(tmp_path, "pnet").stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["cut", "changed", "removed", "no manifest", "another format", "nonsense"])
def test_a_damaged_cache_is_noticed_and_converted_again(tmp_path: Path, damage: str) -> None:
    """A worker refuses what is not what was written; the next start repairs it."""
    convert(tmp_path)
    path, manifest = model_path(tmp_path, "rnet"), weights.manifest_path(tmp_path)
    content = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(content[:-1])
        case "changed":
            path.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
        case "removed":
            path.unlink()
        case "no manifest":
            manifest.unlink()
        case "another format":
            manifest.write_text(manifest.read_text().replace('"format": 2', '"format": 0'))
        case _:  # nonsense
            manifest.write_text("[]")
    assert not models_ready(tmp_path)
    with pytest.raises(WeightsError, match=r"inference_server\.detector\.convert"):
        create_detector(choose("onnx"), tmp_path, 20_000)
    assert main([str(tmp_path)]) == 0
    assert models_ready(tmp_path)
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_written_stops_the_start_and_names_the_setting(tmp_path: Path) -> None:
    """Exit code 1, and one line that says which folder, why, and what to set."""
    (tmp_path / "file").write_text("in the way")
    converter = start_converter(tmp_path / "file" / "cache")
    lines = converter.communicate(timeout=60)[1].splitlines()
    assert converter.returncode == 1
    assert len(lines) == 1
    assert "FACET_CACHE_DIR" in lines[0]
    assert "Not a directory" in lines[0]


def test_a_read_only_file_system_is_reported_the_same_way(tmp_path: Path) -> None:
    """Where writing itself is refused, as root is not by a folder's mode, the setting is named, too."""
    with pytest.raises(WeightsError, match="FACET_CACHE_DIR"):
        convert(Path("/proc/self") / tmp_path.name)


def test_the_folder_may_come_from_the_environment(tmp_path: Path) -> None:
    """Without an argument, the converter takes the setting."""
    environment = {**os.environ, "FACET_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "inference_server.detector.convert"], env=environment, check=True)
    assert models_ready(tmp_path)


@pytest.mark.security(
    endpoint="files",
    attack="Pickles of weights with another checksum than the known one",
    outcome="Refused before they are unpickled; their package is not imported",
)
def test_unknown_weights_are_refused_before_they_are_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pickle of another checksum is never opened; the line says what was expected."""
    folder = tmp_path / "mtcnn" / "assets" / "weights"
    folder.mkdir(parents=True)
    (tmp_path / "mtcnn" / "__init__.py").write_text("raise SystemExit('mtcnn was imported')")
    for network in NETWORKS:
        (folder / f"{network}.lz4").write_bytes(b"not the weights")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path.cwd()}")
    converter = start_converter(tmp_path / "cache")
    lines = converter.communicate(timeout=60)[1].splitlines()
    assert converter.returncode == 1
    assert len(lines) == 1
    assert "unknown checksum" in lines[0]
    assert "mtcnn==1.0.0" in lines[0]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the weights there is nothing to convert."""
    monkeypatch.setattr(weights, "find_spec", lambda _: None)
    with pytest.raises(WeightsError, match=r"mtcnn is not installed: pip install mtcnn==1\.0\.0"):
        weights.read_weights("pnet")


def test_models_are_verified_when_read(tmp_path: Path) -> None:
    """What a session is given is what the checksum was taken of."""
    assert read_model(models(), "pnet") == model_path(models(), "pnet").read_bytes()
    with pytest.raises(WeightsError, match="No such file"):
        read_model(tmp_path, "pnet")


def test_a_worker_neither_unpickles_nor_loads_the_package() -> None:
    """Detecting needs none of what conversion needs, and no TensorFlow."""
    code = (
        "import sys, pathlib\n"
        "from inference_server.detector.choice import choose\n"
        "from inference_server.detector.factory import create_detector, self_test\n"
        "self_test(create_detector(choose(), pathlib.Path(sys.argv[1]), 20000))\n"
        "unwanted = {'mtcnn', 'joblib', 'lz4', 'onnx', 'tensorflow', 'keras', 'pickletools'}\n"
        "sys.exit(' '.join(unwanted & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code, str(models())], check=True)
