"""From a version's source to a model that is loaded, or a reason why not that callers may read."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

from pydantic import BaseModel

from facet_serving import Model
from inference_server.catalogue.entries import Source
from inference_server.dispatch.row import MOST_IN_FLIGHT
from inference_server.models import kinds
from inference_server.models.kinds.python import entry_point, package_of
from inference_server.models.lock import FILE_NAME, Lock
from utils.errors import InvalidModel, ManagementError, ModelLoadFailed, shown, without_folders

_OWN_KEYS = frozenset({"class", "entry_point"})
"""Options of the kinds `python` and `entry_point` that are not the model's."""

_LONGEST_REASON = 500


def load_model(source: Source) -> Model:
    """A model that is ready to predict.

    Raises:
        InvalidModel: The source, or what its class says of itself.
        ModelLoadFailed: It raised something else; the detail has the reason, without folders.
    """
    with _typed_errors():
        model = kinds.create(source)
        model.load(source.folder, {k: v for k, v in source.options.items() if k not in _OWN_KEYS})
    for name in ("Input", "Output"):
        found = getattr(model, name, None)
        if not isinstance(found, type) or not issubclass(found, BaseModel):
            raise InvalidModel(f"{type(model).__name__}.{name} is no pydantic class", field=name)
    for name in ("description", "display_name"):
        if not isinstance(getattr(model, name), str):
            raise InvalidModel(f"{name} is {shown(repr(getattr(model, name)))}; accepted: a text", field=name)
    if not isinstance(model.max_batch, int) or not 1 <= model.max_batch <= MOST_IN_FLIGHT:
        raise InvalidModel(
            f"max_batch is {model.max_batch!r}; accepted: 1 to {MOST_IN_FLIGHT}", field="max_batch"
        )
    return model


def read_lock(source: Source, *, complete: bool = True) -> Lock | None:
    """The numbers of the fields that are shipped with a model; None where there are none.

    A version in the store has them beside its folder, and else, as one of a package, they are in the package.

    Args:
        source: Of the model.
        complete: Whether fields that the lock does not have are refused.

    Raises:
        InvalidModel: The lock is none.
    """
    if source.folder is not None and (path := source.folder.parent / FILE_NAME).is_file():
        return Lock.from_json(path.read_bytes(), complete=complete)
    reference = source.options.get("class", "")
    if source.kind == "entry_point":
        reference = entry_point(source.options["entry_point"]).value
    package = package_of(reference) if reference else None
    if package is None or not (shipped := files(package) / FILE_NAME).is_file():
        return None
    return Lock.from_json(shipped.read_bytes(), complete=complete)


@contextmanager
def _typed_errors() -> Iterator[None]:
    try:
        yield
    except ManagementError:
        raise
    except BaseException as error:  # SystemExit, too, is a reason why a model cannot be loaded
        text = without_folders(str(error))
        raise ModelLoadFailed(f"{type(error).__name__}: {text}"[:_LONGEST_REASON]) from error
