"""The kinds of models: for each a class that makes a model of a version's source."""

from importlib import import_module

from facet_serving import Model
from inference_server.catalogue.entries import Source
from inference_server.models.kinds.python import from_class, from_entry_point
from utils.errors import InvalidModel

_CLASSES = {
    "echo": ("echo", "Echo"),
    "onnx": ("onnx", "OnnxModel"),
    "image_classification": ("image_classification", "ImageClassification"),
    "per_face": ("per_face", "PerFace"),
    "expression": ("expression", "ExpressionModel"),
}
"""Modules of this package and their classes. What each of them needs is loaded where it is used alone."""


def create(source: Source) -> Model:
    """A model that is not loaded yet.

    Raises:
        InvalidModel: There is no such kind or class, or it is no model.
        Exception: Whatever an author's module raises when it is imported.
    """
    if source.kind == "python":
        return from_class(source.options.get("class", ""))
    if source.kind == "entry_point":
        return from_entry_point(source.options.get("entry_point", ""))
    if source.kind not in _CLASSES:
        raise InvalidModel(f"there is no model process for the kind {source.kind!r}", field="kind")
    module, name = _CLASSES[source.kind]
    made: Model = getattr(import_module(f"{__name__}.{module}"), name)()
    return made
