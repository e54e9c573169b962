"""What is to be served when a backend starts, and where changes of that are remembered."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from inference_server.catalogue.commands import Register
from inference_server.catalogue.desired_state import Desired, DesiredState, Unsaved
from inference_server.catalogue.names import FACE_DETECTION, check_name
from inference_server.catalogue.registration import new_version
from inference_server.catalogue.state_file import StateFile
from inference_server.catalogue.store import Store
from utils.errors import FacetError
from utils.logs import fields
from utils.settings import InvalidSetting

logger = logging.getLogger(__name__)


def starting_state(
    models: Sequence[str] | None, file: StateFile, store: Store
) -> tuple[DesiredState, Desired]:
    """Read what is to be served: FACET_MODELS, else the file, else face detection alone.

    Args:
        models: FACET_MODELS: `NAME`, `NAME/VERSION` or `NAME=SOURCE` each; None where it is not set.
        file: What is remembered.
        store: Where models are found.

    Raises:
        InvalidSetting: An entry of FACET_MODELS is no model.
        StateUnusable: The file is there, but cannot be used.
    """
    if file.refusal is not None:
        logger.warning("state folder not usable", extra=fields(reason=file.refusal))
    if models is not None:
        logger.info("changes of the models will not be remembered", extra=fields(why="FACET_MODELS is set"))
        return Unsaved(), listed(models, store)
    remembered = file.load()
    return file, listed([FACE_DETECTION], store) if remembered is None else remembered


def listed(models: Sequence[str], store: Store) -> Desired:
    """What entries of FACET_MODELS ask for; arguments and errors as of `starting_state`."""
    desired = Desired()
    for entry in models:
        try:
            version = new_version(_register(entry), store, desired.versions)
        except FacetError as error:
            raise InvalidSetting(f"FACET_MODELS has {entry!r}: {error.detail}") from error
        desired = desired.with_version(replace(version, loaded_at_start=True))
    return desired


def _register(entry: str) -> Register:
    name, equals, source = entry.partition("=")
    return Register(source.strip(), check_name(name.strip())) if equals else Register(entry)
