"""Classes that were written for other servers, as models: known by what they have, not by a base class.

Three are served unchanged: one with `qualified_name`, `input_schema`, `output_schema` and `predict(data)`;
one with `process_sample(image)`; and a handler of TorchServe, `initialize(context)` and
`handle(data, context)`.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, create_model

from facet_serving import InvalidInput, Model
from utils.errors import InvalidModel
from utils.settings import Settings


def adapt(found: type) -> Model:
    """A model of a class.

    Raises:
        InvalidModel: It is none, and none that can be served as one.
    """
    if issubclass(found, Model):
        return found()
    for needed, adapter in _ADAPTERS.items():
        if all(hasattr(found, name) for name in needed):
            return adapter(found)
    forms = "; ".join(f"one with {' and '.join(needed)}" for needed in _ADAPTERS)
    raise InvalidModel(
        f"{found.__name__} is no model; accepted: a class derived from facet_serving.Model; {forms}",
        field="class",
    )


class DescribedModel(Model):
    """Serves a class with `qualified_name`, `input_schema`, `output_schema` and `predict(data)`.

    Its schemas are pydantic classes, and data an object; or they are `Schema({name: type})` of the package
    `schema`, and data a dict. `display_name`, `description`, `major_version` and `minor_version` count, too.
    """

    def __init__(self, described: type) -> None:
        self._class = described

    def load(self, folder: Path | None, options: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Make an object, which loads what it needs by itself."""
        self._model: Any = self._class()
        self.name = self._model.qualified_name
        self.display_name = getattr(self._model, "display_name", "")
        self.description = getattr(self._model, "description", "")
        numbers = (getattr(self._model, f"{part}_version", default) for part, default in _VERSION.items())
        self.version = ".".join(map(str, numbers))
        self.Input = _schema_class("Input", self._model.input_schema)
        self.Output = _schema_class("Output", self._model.output_schema)
        self._takes_objects = self.Input is self._model.input_schema

    def predict(self, inputs: list[BaseModel]) -> list[Any]:
        """Answer one after the other."""
        return [self._model.predict(one if self._takes_objects else one.model_dump()) for one in inputs]


_VERSION = {"major": 1, "minor": 0}


def _schema_class(name: str, schema: object) -> type[BaseModel]:
    """A pydantic class of a schema.

    Raises:
        InvalidModel: It is another kind of schema.
    """
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema
    types = getattr(schema, "schema", None)
    if not isinstance(types, Mapping) or not all(isinstance(key, str) for key in types):
        raise InvalidModel(
            f"the {name.lower()} schema is no pydantic class, and no Schema of a dict with texts as keys",
            field=f"{name.lower()}_schema",
        )
    fields: dict[str, Any] = {key: (_field_type(key, value), ...) for key, value in types.items()}
    made: type[BaseModel] = create_model(name, **fields)
    return made


def _field_type(key: str, value: Any) -> Any:  # noqa: ANN401 - whatever a Schema has
    if isinstance(value, Mapping):
        return _schema_class(key, type("Nested", (), {"schema": value}))
    if isinstance(value, list) and len(value) == 1:
        return list[_field_type(key, value[0])]  # type: ignore[misc] # a type made at run time
    alternatives = getattr(value, "args", ())  # those of an Or
    if alternatives and all(isinstance(one, str) for one in alternatives):
        return str
    return value


class SampleModel(Model):
    """Serves a class with `process_sample(image: PIL.Image.Image) -> Response`, Response a pydantic class."""

    class Input(BaseModel):
        """One encoded picture."""

        image: bytes

    def __init__(self, processor: type) -> None:
        self._class = processor
        self.name = processor.__name__
        self.Output = _response_class(processor)

    def load(self, folder: Path | None, options: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Make an object, which loads what it needs by itself."""
        # Decoders take memory that models without pictures have better use for.
        from PIL import Image  # noqa: PLC0415

        from inference_server import images  # noqa: PLC0415

        images.load_decoders()
        self._settings = Settings.from_environ(os.environ)
        self._images, self._from_array = images, Image.fromarray
        self._model: Any = self._class()

    def predict(self, inputs: list[Input]) -> list[Any]:
        """Answer one after the other.

        Raises:
            ImageEmpty, ImageTooLarge, UnsupportedImageFormat, BrokenImage, TooManyPixels: Of a picture.
        """
        return [self._model.process_sample(self._picture(one.image)) for one in inputs]

    def _picture(self, content: bytes) -> Any:  # noqa: ANN401 - a PIL.Image.Image
        settings = self._settings
        limits = (settings.max_image_pixels, settings.image_formats)
        self._images.inspect(content, settings.max_image_bytes, *limits)
        pixels, _ = self._images.decode(content, *limits)
        return self._from_array(pixels)


def _response_class(processor: type) -> type[BaseModel]:
    """What `process_sample` is annotated to return, there or in a base class.

    Raises:
        InvalidModel: That is no pydantic class.
    """
    for base in processor.__mro__:
        method = getattr(base, "process_sample", None)
        answer = get_type_hints(method).get("return") if method is not None else None
        if isinstance(answer, type) and issubclass(answer, BaseModel):
            return answer
    raise InvalidModel(
        f"process_sample of {processor.__name__} does not say which pydantic class it returns", field="class"
    )


class TorchServeContext:
    """What a handler is told of its surroundings, as far as a version in the store has it.

    Attributes:
        system_properties: `model_dir` is the version's folder.
        manifest: The name of the model.
        model_yaml_config: The options of the version.
        status: What the handler has said of its answer; 200 where it said nothing.
    """

    def __init__(self, folder: Path | None, name: str, options: Mapping[str, Any]) -> None:
        self.system_properties = {"model_dir": str(folder or ""), "gpu_id": None, "batch_size": 1}
        self.manifest = {"model": {"modelName": name, "serializedFile": None}}
        self.model_yaml_config = dict(options)
        self.status = (200, "")

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:  # noqa: ARG002
        """Say how a request went, as by HTTP."""
        self.status = (code, phrase)


class TorchServeModel(Model):
    """Serves a handler: `initialize(context)`, once, and `handle(data, context)`, list to list."""

    class Input(BaseModel):
        """What the handler finds under `data`."""

        data: bytes

    class Output(BaseModel):
        """What the handler gives: bytes and text as they are, all else as JSON."""

        prediction: bytes

    def __init__(self, handler: type) -> None:
        self._class = handler
        self.name = handler.__name__

    def load(self, folder: Path | None, options: Mapping[str, Any]) -> None:
        """Make and initialize the handler."""
        self._context = TorchServeContext(folder, self.name, options)
        self._handler: Any = self._class()
        self._handler.initialize(self._context)

    def predict(self, inputs: list[Input]) -> list[Output]:
        """Have the handler answer all at once.

        Raises:
            InvalidInput: It has said 400, or another status of a wrong request.
            RuntimeError: It has said another status of a failure.
        """
        self._context.status = (200, "")
        self._context.system_properties["batch_size"] = len(inputs)
        answers = self._handler.handle([{"data": one.data} for one in inputs], self._context)
        code, phrase = self._context.status
        if 400 <= code < 500:  # noqa: PLR2004 - HTTP's
            raise InvalidInput(phrase or f"the model refuses the input with status {code}")
        if code >= 500:  # noqa: PLR2004
            raise RuntimeError(f"the handler says {code} {phrase}")
        return [self.Output(prediction=_as_bytes(answer)) for answer in answers]


def _as_bytes(answer: object) -> bytes:
    if isinstance(answer, bytes | bytearray):
        return bytes(answer)
    return (answer if isinstance(answer, str) else json.dumps(answer, indent=2)).encode()


_ADAPTERS: dict[tuple[str, ...], type[DescribedModel | SampleModel | TorchServeModel]] = {
    ("qualified_name", "input_schema", "output_schema", "predict"): DescribedModel,
    ("process_sample",): SampleModel,
    ("initialize", "handle"): TorchServeModel,
}
