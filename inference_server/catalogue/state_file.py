"""What a backend remembers of its models: a file of JSON, replaced as a whole and written before it counts.

Two backends never write to one folder: the lock is a file of its own, for the other is replaced.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from inference_server.catalogue.desired_state import Desired
from inference_server.catalogue.entries import ModelVersion, State
from inference_server.catalogue.model_settings import check_weights
from inference_server.catalogue.names import check_name, check_version
from utils.errors import FacetError, StateNotWritable

FORMAT: Final = 1
"""Raised whenever a release before this one could misunderstand the file."""

_FILE: Final = "catalogue.json"
_LOCK: Final = "lock"
_OF_THE_MOMENT: Final = ("queue", "state", "loaded_at_start", "failure", "workers")
"""What of a version is not remembered."""


class StateUnusable(Exception):
    """There is a file, but it cannot be used; the message is the one line that the start ends with."""


class StateFile:
    """The file in a folder, which is made if need be.

    Attributes:
        refusal: Why nothing can be written; None where it can.

    Args:
        folder: Where the file is. None where there is no such place.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock: int | None = None
        self.refusal: str | None = None
        if folder is None:
            self.refusal = "there is no folder for it; FACET_STATE_DIR names one"
        else:
            self._take_lock(folder)

    @property
    def locked(self) -> bool:
        """Whether this process has the folder for itself."""
        return self._lock is not None

    def load(self) -> Desired | None:
        """What is remembered; None where nothing ever was.

        Raises:
            StateUnusable: The file cannot be read, is damaged, or is of another release's format.
        """
        if self._folder is None:
            return None
        path = self._folder / _FILE
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):  # the latter is told by `refusal`
            return None
        except OSError as error:
            raise StateUnusable(f"{path} cannot be read: {error.strerror}") from error
        try:
            values = json.loads(content)
            found = values["format"]
            if found == FORMAT:
                return _decode(values)
        except (FacetError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise StateUnusable(
                f"{path} is damaged ({type(error).__name__}: {error}); mend it, or move it away to begin anew"
            ) from error
        raise StateUnusable(
            f"{path} is of format {found!r}; accepted: {FORMAT}; it is of another release of Facet"
        )

    def check_writable(self) -> None:
        """Refuse a change that cannot be written.

        Raises:
            StateNotWritable: With the reason.
        """
        if self.refusal is not None:
            raise StateNotWritable(f"The change was not made, for it cannot be written down: {self.refusal}")

    def save(self, desired: Desired) -> None:
        """Replace the file.

        Raises:
            StateNotWritable: The file is what it was.
        """
        self.check_writable()
        assert self._folder is not None
        try:
            _replace(self._folder, _encode(desired))
        except OSError as error:
            raise StateNotWritable(
                f"The change was not made, for it cannot be written down: {error.strerror}"
            ) from error

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (FileExistsError, NotADirectoryError):
            self.refusal = "FACET_STATE_DIR names no folder"
            return
        except OSError as error:
            self.refusal = str(error.strerror)
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            taken = isinstance(error, BlockingIOError)
            self.refusal = "another backend has the folder" if taken else str(error.strerror)
            return
        self._lock = lock


def _replace(folder: Path, content: bytes) -> None:
    """Write the file beside the old one, and put it in its place when it is whole."""
    temporary = folder / f"{_FILE}.new"
    temporary.unlink(missing_ok=True)  # of a backend that was killed
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / _FILE)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encode(desired: Desired) -> bytes:
    versions = []
    for version in desired.versions:
        values = version.to_dict()
        versions.append({name: value for name, value in values.items() if name not in _OF_THE_MOMENT})
    values = {
        "format": FORMAT,
        "versions": versions,
        "defaults": dict(desired.defaults),
        "canary": {name: dict(weights) for name, weights in desired.canary.items()},
    }
    return json.dumps(values, indent=1).encode()


def _decode(values: Mapping[str, Any]) -> Desired:
    moment = {"queue": 0, "state": State.LOADING.value, "loaded_at_start": True}
    versions = tuple(ModelVersion.from_dict({**version, **moment}) for version in values["versions"])
    for version in versions:
        check_name(version.name)
        check_version(version.version)
    for weights in values["canary"].values():
        check_weights(weights)
    desired = Desired(versions, values["defaults"], values["canary"])
    known = {version.key for version in versions}
    named = {f"{name}/{version}" for name, version in desired.defaults.items()}
    named |= {f"{name}/{version}" for name, weights in desired.canary.items() for version in weights}
    if (
        len(known) < len(versions)
        or not named <= known
        or not all(one.name in desired.defaults for one in versions)
    ):
        raise ValueError("its versions do not fit together")
    return desired
