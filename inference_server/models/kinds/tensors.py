"""An ONNX graph's inputs and outputs as fields of pydantic models.

A tensor without dimensions is one number or text; any other is a flat list in row-major order. A list does
not tell a shape with more than one variable dimension, so that NAME_shape stands beside NAME.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import GenericAlias
from typing import Annotated, Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, create_model

from facet_serving import Double
from utils.errors import InvalidInput, InvalidModel

Array = npt.NDArray[Any]

_ELEMENTS: dict[str, tuple[str, Any]] = {
    "float16": ("float16", float),
    "float": ("float32", float),
    "double": ("float64", Annotated[float, Double]),
    "int8": ("int8", int),
    "int16": ("int16", int),
    "int32": ("int32", int),
    "int64": ("int64", int),
    "uint8": ("uint8", int),
    "uint16": ("uint16", int),
    "uint32": ("uint32", int),
    "bool": ("bool", bool),
    "string": ("object", str),
}
"""The element types of ONNX that are accepted: NumPy's name, and the type in the schema.

uint64 is none of them: a schema's numbers are signed.
"""

_MAPS: dict[str, Any] = {
    "seq(map(int64,tensor(float)))": dict[int, float],
    "seq(map(string,tensor(float)))": dict[str, float],
}
"""What scikit-learn's converters give as probabilities: for each item a map from its classes."""


class Node(Protocol):
    """An input or output, as ONNX Runtime describes it; it gives no shape for a scalar and an unknown one."""

    name: str
    type: str
    shape: Sequence[int | str | None]


@dataclass(frozen=True)
class Tensor:
    """One input or output of a graph.

    Attributes:
        name: In the graph.
        field: In the schema.
        dtype: NumPy's name for the type of its elements; object for texts.
        element: Their type in the schema.
        shape: Of one item, without the dimension of the batch; None where it varies.
        mapping: Instead of all these, the type of a map for each item.
    """

    name: str
    field: str
    dtype: str = "object"
    element: Any = str
    shape: tuple[int | None, ...] = ()
    mapping: Any = None

    @property
    def has_shape(self) -> bool:
        """Whether items must say their shapes."""
        return self.shape.count(None) > 1

    def array(self, item: BaseModel) -> Array:
        """The value of an item.

        Raises:
            InvalidInput: Its numbers are more or fewer than the shape has, or none that this type can have.
        """
        values = getattr(item, self.field)
        try:
            with np.errstate(over="ignore"):
                array = np.array(values, self.dtype)
        except OverflowError as error:
            raise InvalidInput(
                f"{self.field} has a number out of the range of {self.dtype}", field=self.field
            ) from error
        if self.dtype.startswith("float") and not np.isfinite(array).all():
            raise InvalidInput(
                f"{self.field} has a number that is not finite in {self.dtype}", field=self.field
            )
        if not self.shape:
            return array
        return array.reshape(self._shape_of(item, array.size))

    def _shape_of(self, item: BaseModel, size: int) -> list[int]:
        known = math.prod(length for length in self.shape if length is not None)
        shape = [length if length is not None else size // max(known, 1) for length in self.shape]
        if self.has_shape:
            shape = list(getattr(item, f"{self.field}_shape"))
        fits = len(shape) == len(self.shape) and all(
            length == fixed if fixed is not None else length >= 1
            for length, fixed in zip(shape, self.shape, strict=True)
        )
        if not fits or math.prod(shape) != size:
            said = f" and the shape {shape}" if self.has_shape else ""
            raise InvalidInput(
                f"{self.field} has {size} values{said}; accepted: a flat list for the shape {self.described}",
                field=self.field,
            )
        return shape

    def values(self, result: Any) -> dict[str, Any]:  # noqa: ANN401 - an array, or a map
        """The fields of an answer, from the result for one item."""
        if self.mapping is not None:
            return {self.field: result}
        if not self.shape:
            return {self.field: np.asarray(result).item()}
        fields = {self.field: result.ravel().tolist()}
        return fields | {f"{self.field}_shape": list(result.shape)} if self.has_shape else fields

    @property
    def described(self) -> str:
        """The shape in words."""
        return f"[{', '.join('any' if length is None else str(length) for length in self.shape)}]"

    def fields(self) -> dict[str, Any]:
        """What `pydantic.create_model` takes."""
        if self.mapping is not None:
            return {self.field: (self.mapping, Field(description="Of each class."))}
        if not self.shape:
            return {self.field: (self.element, Field(description=self._type))}
        size = None if None in self.shape else math.prod(length or 0 for length in self.shape)
        about = f"{self._type}, row-major, shape {self.described}"
        numbers = GenericAlias(list, self.element)
        fields: dict[str, Any] = {}
        fields[self.field] = (numbers, Field(min_length=size, max_length=size, description=about))
        if self.has_shape:
            count = len(self.shape)
            shape = Field(min_length=count, max_length=count, description=f"Of {self.field}.")
            fields[f"{self.field}_shape"] = (list[int], shape)
        return fields

    @property
    def _type(self) -> str:
        return "text" if self.element is str else self.dtype


def tensors(nodes: Iterable[Node], *, batched: bool) -> list[Tensor]:
    """The inputs or outputs of a graph.

    Args:
        nodes: They.
        batched: The first dimension of each is that of the batch.

    Raises:
        InvalidModel: One has a type that is not accepted, or two names meet in one field.
    """
    found = [_tensor(node, batched=batched) for node in nodes]
    fields = [field for tensor in found for field in tensor.fields()]
    for field in fields:
        if fields.count(field) > 1:
            raise InvalidModel(f"two inputs or outputs of the graph would be called {field}", field="file")
    return found


def is_batched(inputs: Sequence[Node], outputs: Iterable[Node]) -> bool:
    """Whether the first dimension of all of them varies, which is then taken for that of a batch."""
    if not inputs:
        return False
    nodes = [*inputs, *(node for node in outputs if node.type not in _MAPS)]
    return all(node.shape and not isinstance(node.shape[0], int) for node in nodes)


def schema(name: str, described: Iterable[Tensor]) -> type[BaseModel]:
    """A pydantic model with the fields of these tensors."""
    fields: dict[str, Any] = {}
    for tensor in described:
        fields |= tensor.fields()
    config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())
    made: type[BaseModel] = create_model(name, __config__=config, **fields)
    return made


def _tensor(node: Node, *, batched: bool) -> Tensor:
    field = _field(node.name)
    if node.type in _MAPS and batched:
        return Tensor(node.name, field, mapping=_MAPS[node.type])
    element = re.fullmatch(r"tensor\((\w+)\)", node.type)
    if element is None or element[1] not in _ELEMENTS:
        accepted = ", ".join(f"tensor({known})" for known in _ELEMENTS)
        raise InvalidModel(
            f"{node.name} of the graph is of type {node.type}; accepted: {accepted}, and for models with a "
            f"variable batch dimension {', '.join(_MAPS)} as an output",
            field="file",
        )
    dtype, kind = _ELEMENTS[element[1]]
    dimensions = node.shape[1:] if batched else node.shape
    shape = tuple(length if isinstance(length, int) else None for length in dimensions)
    return Tensor(node.name, field, dtype, kind, shape)


def _field(name: str) -> str:
    """A name in the schema: letters, digits and `_`, a letter first, and none that pydantic has itself."""
    field = re.sub(r"[^A-Za-z0-9_]", "_", name).strip("_") or "value"
    if field[0].isdigit():
        field = f"n{field}"
    return f"{field}_" if hasattr(BaseModel, field) else field
