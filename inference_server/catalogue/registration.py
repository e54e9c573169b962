"""From what somebody asks for to a version that can be loaded."""

from collections.abc import Iterable

from inference_server.catalogue.commands import Register
from inference_server.catalogue.entries import ModelVersion, State
from inference_server.catalogue.growth import check_growth
from inference_server.catalogue.names import FACE_DETECTION, check_name, identifier
from inference_server.catalogue.store import Store
from utils.errors import InvalidModel, ModelExists


def new_version(register: Register, store: Store, existing: Iterable[ModelVersion]) -> ModelVersion:
    """The version that a command asks for; its queue is still to be given.

    Args:
        register: The command.
        store: Where it is found.
        existing: All versions of all models that there are.

    Raises:
        InvalidModel: It is no valid model, or cannot have this name, or a setting is out of its range.
        ModelNotFound: There is nothing to be registered.
        ModelExists: It is there already.
    """
    found = store.resolve(register.url, register.version)
    name = check_name(register.name) if register.name else found.name
    if FACE_DETECTION in (name, found.name) and name != found.name:
        raise InvalidModel(
            f"{FACE_DETECTION} is the built-in model, and that has no other name", field="name"
        )
    settings = found.settings.with_changes(register.settings)
    if name == FACE_DETECTION and settings != found.settings:
        raise InvalidModel(f"{FACE_DETECTION} has no settings of this kind", field="settings")
    made = ModelVersion(
        name,
        found.version,
        register.url,
        found.source,
        settings,
        queue=0,
        state=State.LOADING,
        loaded_at_start=False,
    )
    for other in existing:
        check_beside(made, other)
    return made


def check_beside(version: ModelVersion, other: ModelVersion) -> None:
    """Refuse a version that cannot be there together with another.

    Raises:
        ModelExists: It is the same.
        InvalidModel: Their names have the same identifier in protobuf, or they are versions of which the
            higher one breaks what the other promises.
    """
    if version.key == other.key:
        named = f", version {version.version}," if version.version else ""
        raise ModelExists(f"The model {version.name}{named} is registered already", field="name")
    if version.name != other.name and identifier(version.name) == identifier(other.name):
        raise InvalidModel(
            f"The model's name is {version.name}, which typed clients could not tell from {other.name}: both "
            f"are {identifier(version.name)} to them",
            field="name",
        )
    if version.name == other.name and version.card is not None and other.card is not None:
        check_growth(version.card, [other.card])
