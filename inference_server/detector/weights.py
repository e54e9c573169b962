"""Where the networks come from: the weights in the `mtcnn` package, and the cache of converted models.

The package's weights are pickles, so they are read once, by a process of its own (`convert`), after
their checksums were compared with those pinned here (mtcnn 1.0.0, as on PyPI). Its models lie in the
cache folder with a manifest of their checksums; everybody else reads only those. The package is found
without being imported, which would load TensorFlow. The standard library alone is used here, so that
the supervisor can ask whether the models are ready.
"""

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NETWORKS = ("pnet", "rnet", "onet")

_WEIGHTS_SHA256 = {
    "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}

# Raised whenever a model's form changes: a release never reads what another one wrote.
_FORMAT = 2

_MANIFEST = "manifest.json"


class WeightsError(Exception):
    """The weights or the models cannot be used; the message is one line that says what to do."""


def models_folder(cache_dir: Path) -> Path:
    """The folder under the cache folder in which this release keeps its models."""
    return cache_dir / f"mtcnn-{_FORMAT}"


def manifest(files: dict[str, bytes]) -> bytes:
    """The text that describes these files, by name; equal files give equal text."""
    content = {
        "format": _FORMAT,
        "weights": _WEIGHTS_SHA256,
        "files": {name: _sha256(content) for name, content in files.items()},
    }
    return json.dumps(content, indent=2, sort_keys=True).encode()


def manifest_path(cache_dir: Path) -> Path:
    """Where the manifest lies; it is written last, so that it only ever describes complete models."""
    return models_folder(cache_dir) / _MANIFEST


def model_path(cache_dir: Path, network: str) -> Path:
    """Where the model of one of NETWORKS lies, for the onnx engine."""
    return models_folder(cache_dir) / f"{network}.onnx"


def floats_path(cache_dir: Path, network: str) -> Path:
    """Where the plain weights of one of NETWORKS lie, for the engines without a graph."""
    return models_folder(cache_dir) / f"{network}.f32"


def models_ready(cache_dir: Path) -> bool:
    """Whether the cache holds all three models in both forms, unchanged, from the pinned weights."""
    try:
        for network in NETWORKS:
            read_model(cache_dir, network)
            read_floats(cache_dir, network)
    except WeightsError:
        return False
    return True


def read_model(cache_dir: Path, network: str) -> bytes:
    """The serialized model of one of NETWORKS, verified.

    Raises:
        WeightsError: It is missing, or is not what the manifest says.
    """
    return _read(cache_dir, model_path(cache_dir, network))


def read_floats(cache_dir: Path, network: str) -> bytes:
    """The plain weights of one of NETWORKS, verified: little-endian float32, as `flat` describes them.

    Raises:
        WeightsError: They are missing, or are not what the manifest says.
    """
    return _read(cache_dir, floats_path(cache_dir, network))


def _read(cache_dir: Path, path: Path) -> bytes:
    """A file of the cache, verified."""
    again = f"convert the models again: python -m inference_server.detector.convert {cache_dir}"
    try:
        described: Any = json.loads(manifest_path(cache_dir).read_bytes())
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its manifest is not JSON"
        raise WeightsError(f"no {path.name} in {cache_dir} ({reason}); {again}") from error
    try:
        valid = (described["format"], described["weights"], described["files"][path.name]) == (
            _FORMAT,
            _WEIGHTS_SHA256,
            _sha256(content),
        )
    except (KeyError, TypeError):
        valid = False
    if not valid:
        raise WeightsError(f"{path.name} in {cache_dir} is not the file that was written; {again}")
    return content


def read_weights(network: str) -> bytes:
    """The package's own weights of one of NETWORKS, an lz4-compressed pickle, verified.

    Raises:
        WeightsError: The package is not installed, or its weights are others than those pinned.
    """
    spec = find_spec("mtcnn")
    if spec is None or spec.origin is None:
        raise WeightsError("the package mtcnn is not installed: pip install mtcnn==1.0.0")
    path = Path(spec.origin).parent / "assets" / "weights" / f"{network}.lz4"
    try:
        weights = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"the package mtcnn has no weights at {path}: {error.strerror}") from error
    found = _sha256(weights)
    if found != _WEIGHTS_SHA256[network]:
        raise WeightsError(
            f"{path} has the unknown checksum {found}; accepted: the weights of mtcnn 1.0.0, "
            f"{_WEIGHTS_SHA256[network]}: pip install --force-reinstall mtcnn==1.0.0"
        )
    return weights


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
