"""Write the models into the cache folder: `python -m inference_server.detector.convert [CACHE_DIR]`.

This process alone unpickles (see `weights`). It ends with 0 when the models are in place, else with 1
and one line on standard error that says why. Two of them at once do no harm: each file is replaced
in one step by one of the same content, and the manifest that makes the models valid comes last.
"""

import io
import os
import sys
import tempfile
from pathlib import Path

from inference_server.detector.weights import (
    NETWORKS,
    WeightsError,
    floats_path,
    manifest,
    manifest_path,
    model_path,
    models_ready,
    read_weights,
)
from utils.settings import InvalidSetting, Settings


def convert(cache_dir: Path) -> None:
    """Put the three models, in both forms, and their manifest into the cache folder, whatever lies there.

    Raises:
        WeightsError: The package's weights are not those expected, or the folder cannot be written.
    """
    import joblib  # noqa: PLC0415 - a start that finds its models needs neither of the two

    from inference_server.detector.flat import flat_weights  # noqa: PLC0415
    from inference_server.detector.graphs import build_model  # noqa: PLC0415

    files: dict[Path, bytes] = {}
    for network in NETWORKS:
        weights = joblib.load(io.BytesIO(read_weights(network)))
        files[model_path(cache_dir, network)] = build_model(network, weights)
        files[floats_path(cache_dir, network)] = flat_weights(weights)
    try:
        for path, content in files.items():
            _replace(path, content)
        _replace(manifest_path(cache_dir), manifest({path.name: content for path, content in files.items()}))
    except OSError as error:
        raise WeightsError(
            f"the models cannot be written into {cache_dir} ({error.strerror}); "
            "set FACET_CACHE_DIR to a folder that can be written"
        ) from error


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees all of it or the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def main(arguments: list[str]) -> int:
    """Convert unless the models are there; return the exit code."""
    try:
        cache_dir = Path(arguments[0]) if arguments else Settings.from_environ(os.environ).cache_dir
        if not models_ready(cache_dir):
            convert(cache_dir)
    except (WeightsError, InvalidSetting) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
