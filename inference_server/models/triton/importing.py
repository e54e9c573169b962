"""Puts a model of Triton's repository into the store."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from inference_server.catalogue.model_settings import ModelSettings
from inference_server.catalogue.names import check_name
from inference_server.models.kinds.onnx import OnnxModel
from inference_server.models.new_version import new_version
from inference_server.models.triton.config import read_config
from inference_server.models.triton.findings import Finding, find
from inference_server.models.triton.graph import differences
from inference_server.models.triton.rules import MOST_ITEMS
from inference_server.models.triton.versions import chosen
from utils.errors import InvalidModel, ModelExists

_FILE: Final = "model.onnx"

_KEYS: Final[Mapping[str, str]] = {
    "min_workers": "instance_group",
    "max_workers": "instance_group",
    "max_batch_delay": "dynamic_batching.max_queue_delay_microseconds",
    "file": "default_model_filename",
}
"""The key of Triton's from which one of model.toml is made."""


@dataclass(frozen=True)
class Examined:
    """A model of Triton's repository, as it would be in the store.

    Attributes:
        name: Of the model.
        findings: Of each key of the configuration.
        versions: For each version its folder in the repository, and the keys of its model.toml.
    """

    name: str
    findings: Sequence[Finding]
    versions: Mapping[Path, Mapping[str, Any]]

    @property
    def refused(self) -> list[str]:
        """The keys because of which it cannot be imported."""
        return [finding.key for finding in self.findings if finding.verdict == "refused"]


def examine(path: Path, version: str = "") -> Examined:
    """Read a configuration, and compare it with the ONNX files beside it, which are loaded for that.

    Args:
        path: Of the config.pbtxt, beside which are the folders of the versions.
        version: The one that is meant; empty for those of the configuration's policy.

    Raises:
        InvalidModel: It is no configuration of Triton, or the model's name is none for Facet.
        ModelNotFound: A version is not there.
        OSError: A file cannot be read.
    """
    config, repository = read_config(path), path.absolute().parent
    name = check_name(config.name or repository.name)
    findings = {finding.key: finding for finding in find(config)}
    if version and "version_policy" in findings:
        findings["version_policy"] = Finding("version_policy", "ignored", f"version {version} is asked for")
    folders = [repository / str(number) for number in chosen(config, repository, version)]
    versions = {folder: _keys(config, folder) for folder in folders}
    if not any(findings[key].verdict == "refused" for key in ("platform", "backend") if key in findings):
        for folder, keys in versions.items():
            for key, reason in _problems(config, folder, keys).items():
                findings[key] = Finding(key, "refused", f"version {folder.name}: {reason}")
    return Examined(name, [*findings.values()], versions)


def _keys(config: Any, folder: Path) -> dict[str, Any]:  # noqa: ANN401 - made at run time
    """What the version's model.toml says."""
    file = config.default_model_filename or _FILE
    if (folder / file).is_dir():  # a graph with its weights in further files
        file = f"{file}/{_FILE}"
    keys: dict[str, Any] = {"kind": "onnx", "file": file}
    if config.HasField("max_batch_size") or config.input or config.output:
        keys["batched"] = config.max_batch_size > 0
    if config.max_batch_size > 0:
        keys["max_batch"] = min(config.max_batch_size, MOST_ITEMS)
    if config.dynamic_batching.max_queue_delay_microseconds:
        keys["max_batch_delay"] = config.dynamic_batching.max_queue_delay_microseconds / 1e6
    if config.instance_group:
        keys["min_workers"] = sum(max(group.count, 1) for group in config.instance_group)
    return keys


def _problems(config: Any, folder: Path, keys: Mapping[str, Any]) -> Mapping[str, str]:  # noqa: ANN401
    """Why a version cannot be served so: by the key, the reason."""
    model, of_kind = OnnxModel(), {key: keys[key] for key in ("file", "batched") if key in keys}
    try:
        ModelSettings().with_changes({key: keys[key] for key in keys.keys() - of_kind.keys() - {"kind"}})
        if not folder.resolve().is_relative_to(folder.parent.resolve()):
            raise InvalidModel(f"{folder.name} is a link that leads out of the model's folder", field="file")
        model.load(folder.resolve(), of_kind)
    except InvalidModel as error:
        field = error.field or ""
        return {_KEYS.get(field, field): error.detail}
    return differences(config, model.tensors)


def import_versions(examined: Examined, store: Path, *, overwrite: bool) -> list[Path]:
    """Put the versions into the store; gives their folders there.

    Args:
        examined: A model without refused keys.
        store: The folder of models, made where it is missing.
        overwrite: Whether versions that are there already are replaced.

    Raises:
        ModelExists: A version is there already; then nothing is written.
        InvalidModel: A folder of a version has a link that leads out of it; that version is not written.
        OSError: A file cannot be read, or the store not be written.
    """
    targets = {store / examined.name / folder.name: folder for folder in examined.versions}
    there = [target for target in targets if target.exists()]
    if there and not overwrite:
        raise ModelExists(f"{examined.name} {there[0].name} is in the store already: {there[0]}")
    for target, folder in targets.items():
        with new_version(target) as made:
            _copy(folder.resolve(), made)
            (made / "model.toml").write_text(_toml(examined.versions[folder]))
    return [*targets]


def _copy(folder: Path, target: Path) -> None:
    for path in sorted(folder.rglob("*")):
        copied = target / path.relative_to(folder)
        if path.is_dir() and not path.is_symlink():
            copied.mkdir()
        elif path.is_file() and path.resolve().is_relative_to(folder):
            shutil.copyfile(path, copied)
        else:
            raise InvalidModel(
                f"{path.relative_to(folder.parent)} is no file of the version's folder, or a link out of it",
                field="file",
            )


def _toml(keys: Mapping[str, Any]) -> str:
    """Numbers, flags and printable texts are the same in TOML and in JSON."""
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in keys.items())
