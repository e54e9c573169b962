"""The store of models, for commands that need no backend."""

import os
from collections.abc import Callable
from pathlib import Path

import click

from utils.settings import InvalidSetting, Settings


def in_store(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option of all that use the store, as its argument `store`: the folder."""
    option = click.option(
        "--store",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        callback=lambda _context, _option, folder: folder or _of_environment(),
        help="The folder of models, instead of FACET_MODEL_STORE.",
    )
    return option(function)


def _of_environment() -> Path:
    folder = Settings.from_environ(os.environ).model_store
    if folder is None:
        raise InvalidSetting(
            "FACET_MODEL_STORE is not set, and this user has no home; accepted: the absolute path of a "
            "folder, or --store"
        )
    return folder
