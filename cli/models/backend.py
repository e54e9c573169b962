"""The backend that has a folder of state: it is asked by the control socket there."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from inference_server.catalogue.commands import Command, patience
from inference_server.catalogue.control_socket import NAME, call
from utils.errors import BackendUnavailable, DeadlineExceeded
from utils.settings import InvalidSetting, Settings


@dataclass(frozen=True, slots=True)
class Backend:
    """The backend that a command is for.

    Attributes:
        folder: Its FACET_STATE_DIR; None is the one of the environment.
    """

    folder: Path | None

    def ask(self, command: Command) -> dict[str, Any]:
        """Have a command executed; gives the backend's answer.

        Raises:
            BackendUnavailable: None runs with this folder, or this user may not ask it.
            DeadlineExceeded: It has not answered in time.
            InvalidSetting: The environment does not say which folder.
            FacetError: The backend refuses.
        """
        path, seconds = self._folder() / NAME, patience(command)
        try:
            return call(path, command, seconds)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"The backend has not answered within {seconds:g} s; it may still do what it was asked for"
            ) from error
        except OSError as error:
            raise BackendUnavailable(
                f"No backend can be asked by {path}: {error.strerror or error}; it must run on this machine, "
                "with the same FACET_STATE_DIR"
            ) from error

    def _folder(self) -> Path:
        folder = self.folder or Settings.from_environ(os.environ).state_dir
        if folder is None:
            raise InvalidSetting(
                "FACET_STATE_DIR is not set, and this user has no home; accepted: the absolute path of a "
                "folder, or --state-dir"
            )
        return folder


def asks_backend(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option of all that ask a backend; its argument is `backend`."""
    option = click.option(
        "--state-dir",
        "backend",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        callback=lambda _context, _option, folder: Backend(folder),
        help="The backend's folder of state, instead of FACET_STATE_DIR.",
    )
    return option(function)


def prints_json(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option to print the backend's answer as it is; its argument is `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)
