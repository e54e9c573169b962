"""The kind `onnx`: any ONNX model, with a schema made from its graph."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from facet_serving import Model
from inference_server.models.kinds.loading import FileName, Options, open_model, read_options
from inference_server.models.kinds.tensors import Array, is_batched, schema, tensors

_MAX_BATCH = 16


class OnnxOptions(Options):
    """The keys of model.toml.

    Attributes:
        file: The ONNX file; weights in files beside it are found by its own references.
        batched: False where a variable first dimension of all inputs and outputs is not that of a batch.
    """

    file: FileName = "model.onnx"
    batched: bool = True


class OnnxModel(Model):
    """Any ONNX model. `Input` and `Output` are made by `load`.

    Where the first dimension of all inputs and outputs varies, it is that of a batch, and an input is one
    item without it. Otherwise an input is all that a run of the graph takes.
    """

    def load(self, folder: Path | None, options: Mapping[str, Any]) -> None:
        """Load the graph, and make the schema.

        Raises:
            InvalidModel: The options, or the file, or a type of the graph.
        """
        chosen = read_options(OnnxOptions, options)
        self._session = open_model(folder, chosen.file)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._batched = chosen.batched and is_batched(inputs, outputs)
        self._inputs = tensors(inputs, batched=self._batched)
        self._outputs = tensors(outputs, batched=self._batched)
        self.Input = schema("Input", self._inputs)
        self.Output = schema("Output", self._outputs)
        self.max_batch = _MAX_BATCH if self._batched else 1
        self.description = self._session.get_modelmeta().description or self.description

    def predict(self, inputs: Sequence[BaseModel]) -> list[BaseModel]:
        """Run the graph: once for a batch of items that have one shape, else for each.

        Raises:
            InvalidInput: Of any of them; see `Tensor.array`.
        """
        items = [[tensor.array(item) for tensor in self._inputs] for item in inputs]
        if not self._batched:
            return [self._answer(self._run(item)) for item in items]
        if len({tuple(array.shape for array in item) for item in items}) == 1:
            return self._run_batch(items)
        return [answer for item in items for answer in self._run_batch([item])]

    def _run_batch(self, items: Sequence[Sequence[Array]]) -> list[BaseModel]:
        results = self._run([np.stack(arrays) for arrays in zip(*items, strict=True)])
        for tensor, result in zip(self._outputs, results, strict=True):
            if len(result) != len(items):
                raise ValueError(
                    f"the graph gave {len(result)} of {tensor.name} for a batch of {len(items)}; where its "
                    "first dimension is not that of a batch, model.toml must say batched = false"
                )
        return [self._answer([result[number] for result in results]) for number in range(len(items))]

    def _run(self, arrays: Sequence[Array]) -> list[Any]:
        feeds = {tensor.name: array for tensor, array in zip(self._inputs, arrays, strict=True)}
        results: list[Any] = self._session.run([tensor.name for tensor in self._outputs], feeds)
        return results

    def _answer(self, results: Sequence[Any]) -> BaseModel:
        fields: dict[str, Any] = {}
        for tensor, result in zip(self._outputs, results, strict=True):
            fields |= tensor.values(result)
        return self.Output(**fields)
