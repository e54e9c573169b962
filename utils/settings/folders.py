"""A user's folders, where a setting names none."""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from utils.settings.kinds import FOLDER, InvalidSetting


def _home_folder(environ: Mapping[str, str], variable: str, default: str) -> Path | None:
    """Facet's own folder among a user's of one kind, by the XDG base directory specification.

    None where the user has no home, as in a container that is told to run as any number.
    """
    base, home = Path(environ.get(variable, "")), Path(environ.get("HOME", ""))
    if base.is_absolute():
        return base / "facet"
    if not home.is_absolute():
        try:
            home = Path(pwd.getpwuid(os.getuid()).pw_dir)
        except KeyError:
            return None
    return home / default / "facet"


def default_cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where converted models are kept.

    Raises:
        InvalidSetting: There is no such place.
    """
    folder = _home_folder(environ, "XDG_CACHE_HOME", ".cache")
    if folder is None:
        raise InvalidSetting(
            f"FACET_CACHE_DIR is not set, and user {os.getuid()} has no home; accepted: {FOLDER.accepted}"
        )
    return folder


def default_model_store(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where models are kept; None where the user has no home."""
    data = _home_folder(environ, "XDG_DATA_HOME", ".local/share")
    return None if data is None else data / "models"


def default_state_dir(environ: Mapping[str, str] = os.environ) -> Path | None:
    """What a backend remembers is kept here; None where the user has no home."""
    return _home_folder(environ, "XDG_STATE_HOME", ".local/state")
