"""The kinds `python` and `entry_point`: a class of an installed package."""

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec

from facet_serving import Model
from inference_server.models.adapters import adapt
from utils.errors import InvalidModel, shown

GROUP = "facet.models"
"""The group of entry points in which packages name their models."""


def from_class(reference: str) -> Model:
    """A model of `module:Class`.

    Raises:
        InvalidModel: There is no such module or class, or it is no model.
    """
    module, _, name = reference.partition(":")
    try:
        found: object = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # one that the module itself imports
        raise InvalidModel(
            f"there is no module {shown(module)!r} among the installed packages", field="class"
        ) from error
    except ValueError as error:  # an empty name
        raise InvalidModel(
            f"the class is {shown(reference)!r}; accepted: module:Class", field="class"
        ) from error
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        raise InvalidModel(f"{shown(module)} has no class {shown(name)!r}", field="class")
    return adapt(found)


def from_entry_point(name: str) -> Model:
    """A model of the entry point with this name.

    Raises:
        InvalidModel: There is none, or it names no model.
    """
    return from_class(entry_point(name).value)


def entry_point(name: str) -> EntryPoint:
    """The only entry point with this name in the group.

    Raises:
        InvalidModel: There is none, or several that differ.
    """
    found = {point.value: point for point in entry_points(group=GROUP, name=name)}
    if len(found) != 1:
        how_many = "no installed package has" if not found else "several installed packages have"
        raise InvalidModel(f"{how_many} an entry point {shown(name)!r} in {GROUP}", field="entry_point")
    return next(iter(found.values()))


def package_of(reference: str) -> str | None:
    """The package that has the module of `module:Class`; None for a module outside of any."""
    try:
        spec = find_spec(reference.partition(":")[0])
    except ValueError:  # a module without one, such as that of a notebook
        return None
    return spec.parent or None if spec is not None else None
