"""Finds what is to be registered: among the built-in models, in the store, or in an installed package.

The store is a folder with NAME/VERSION/model.toml. Nothing is written to it, unpacked or downloaded, and no
code of a model is run.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from inference_server.catalogue.entries import ModelSettings, Source
from inference_server.catalogue.kinds import STORED_KINDS, check_options
from inference_server.catalogue.names import FACE_DETECTION, check_name, check_version, version_key
from utils.errors import InvalidModel, ModelNotFound, shown

ENTRY_POINTS: Final = "facet.models"
"""The group in which an installed package names its models."""

_BUILT_IN: Final = (FACE_DETECTION, "echo")
BUILT_IN_VERSION: Final = "1.0"
_FILE: Final = "model.toml"
_COMMON: Final = frozenset(setting.name for setting in fields(ModelSettings))
_ARCHIVE: Final = ".mar"
_LONGEST_FILE: Final = 65536


@dataclass(frozen=True, slots=True)
class Resolved:
    """What was found.

    Attributes:
        name: Of the model.
        version: Empty for an entry point, whose code alone says it.
        source: What the version is made of.
        settings: What model.toml says, or the defaults.
    """

    name: str
    version: str
    source: Source
    settings: ModelSettings


class Store:
    """All that can be registered.

    Args:
        folder: Of the store; it need not exist. None where there is none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def resolve(self, url: str, version: str = "") -> Resolved:
        """Find a model: a built-in one, else one of the store, else an installed package's.

        Args:
            url: `NAME`, `NAME.mar`, `NAME/VERSION`, or a URL whose last part is one of the first two.
            version: Which one, where `url` does not say; without it the highest, compared as numbers.

        Raises:
            InvalidModel: The url is none of these, or what was found is no valid model.
            ModelNotFound: There is nothing of that name and version.
        """
        name, named = _parse(url)
        if version and named and named != version:
            raise InvalidModel(
                f"The version is {shown(version)!r}, but the url names another", field="version"
            )
        wanted = check_version(version) if version else named
        if name in _BUILT_IN:
            return _built_in(name, wanted)
        try:
            found = self._stored(name, wanted)
        except OSError as error:
            raise InvalidModel(f"The store cannot be read: {error.strerror}", field="url") from error
        if found is None:
            found = _installed(name, wanted)
        if found is None:
            raise ModelNotFound(
                f"There is no model {shown(name)!r}: it is neither built in, nor in the store, nor in an "
                "installed package",
                field="url",
            )
        return found

    def list(self) -> tuple[str, ...]:
        """What `resolve` takes: built-in models, versions in the store, and those of installed packages.

        Raises:
            OSError: The store cannot be read.
        """
        stored = [
            f"{folder.name}/{version}"
            for folder in sorted(self._folder.iterdir() if self._folder and self._folder.is_dir() else ())
            if _is_name(folder.name)
            for version in _versions(folder)
        ]
        installed = sorted({point.name for point in entry_points(group=ENTRY_POINTS)})
        return (*_BUILT_IN, *stored, *filter(_is_name, installed))

    def _stored(self, name: str, wanted: str) -> Resolved | None:
        if self._folder is None:
            return None
        there = _versions(self._folder / name)
        if not there:
            return None
        if wanted and wanted not in there:
            raise ModelNotFound(
                f"The store has no version {shown(wanted)!r} of the model {name}; it has {', '.join(there)}",
                field="version",
            )
        version = wanted or there[-1]
        folder = (self._folder / name / version).resolve()
        try:
            if not (folder / _FILE).resolve().is_relative_to(self._folder.resolve()):
                raise InvalidModel("a link leads out of the store", field="url")
            source, settings = _read(folder)
        except InvalidModel as error:
            raise InvalidModel(f"{_FILE} of {name}/{version}: {error.detail}", field=error.field) from error
        return Resolved(name, version, source, settings)


def _parse(url: str) -> tuple[str, str]:
    """The name and the version, which may be empty."""
    try:
        text = unquote(urlsplit(url).path).rpartition("/")[2] if "://" in url else url
        name, slash, version = text.partition("/")
        return check_name(name.removesuffix(_ARCHIVE)), check_version(version) if slash else ""
    except (InvalidModel, ValueError) as error:  # a URL with half an IPv6 address is a ValueError
        raise InvalidModel(
            f"The url is {shown(url)!r}; accepted: NAME, NAME{_ARCHIVE}, NAME/VERSION, or a URL whose last "
            "part is one of the first two",
            field="url",
        ) from error


def _is_name(name: str) -> bool:
    try:
        return bool(check_name(name))
    except InvalidModel:
        return False


def _built_in(name: str, wanted: str) -> Resolved:
    if wanted not in ("", BUILT_IN_VERSION):
        raise ModelNotFound(
            f"The built-in model {name} has no version {shown(wanted)!r}; it has {BUILT_IN_VERSION}",
            field="version",
        )
    return Resolved(name, BUILT_IN_VERSION, Source(name), ModelSettings())


def _installed(name: str, wanted: str) -> Resolved | None:
    found = {point.value for point in entry_points(group=ENTRY_POINTS, name=name)}
    if len(found) > 1:
        raise InvalidModel(f"Several installed packages have a model {name}", field="url")
    source = Source("entry_point", options={"entry_point": name})
    return Resolved(name, wanted, source, ModelSettings()) if found else None


def _versions(folder: Path) -> list[str]:
    """The versions of a model in the store, the lowest first."""
    if not folder.is_dir():
        return []
    there = [version.name for version in folder.iterdir() if (version / _FILE).exists()]
    return sorted(filter(_is_version, there), key=version_key)


def _is_version(version: str) -> bool:
    try:
        return bool(check_version(version))
    except InvalidModel:
        return False


def _read(folder: Path) -> tuple[Source, ModelSettings]:
    values = dict(_toml(folder / _FILE))
    kind = values.pop("kind", None)
    if kind not in STORED_KINDS:
        raise InvalidModel(
            f"kind is {shown(repr(kind))}; accepted: one of {', '.join(STORED_KINDS)}", field="kind"
        )
    common = {key: values.pop(key) for key in _COMMON & values.keys()}
    check_options(kind, values, folder)
    return Source(kind, folder, values), ModelSettings().with_changes(common)


def _toml(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file:
        content = file.read(_LONGEST_FILE + 1)
    if len(content) > _LONGEST_FILE:
        raise InvalidModel(f"it is longer than {_LONGEST_FILE} bytes")
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise InvalidModel("it is no text in UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidModel(f"it is no TOML: {error}") from error
