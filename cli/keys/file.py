"""The file of keys, for commands that read or change it."""

import os
from collections.abc import Callable
from pathlib import Path

import click

from cli.failure import Failure
from utils.api_keys import ApiKey, KeysUnusable, read_keys
from utils.settings import InvalidSetting, Settings


def in_key_file(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option of all that use the file, as its argument `path`."""
    option = click.option(
        "--file",
        "path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        callback=lambda _context, _option, path: path or _of_environment(),
        help="The file of keys, instead of FACET_API_KEYS_FILE.",
    )
    return option(function)


def keys_in(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a file.

    Raises:
        Failure: It cannot be used.
    """
    try:
        return read_keys(path)
    except KeysUnusable as error:
        raise Failure("KEY_FILE_UNUSABLE", f"{path}: {error}") from error


def _of_environment() -> Path:
    path = Settings.from_environ(os.environ).api_keys_file
    if path is None:
        raise InvalidSetting(
            "FACET_API_KEYS_FILE is not set; accepted: the absolute path of a file, or --file"
        )
    return path
