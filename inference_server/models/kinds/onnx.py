"""The kind `onnx`: any ONNX model, with a schema made from its graph."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from facet_serving import Model
from inference_server.models.encodings.tensors import Rows
from inference_server.models.kinds.graph_tensors import GraphTensors
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
        self.tensors = GraphTensors(self._inputs, self._outputs, batched=self._batched)
        self.Input = schema("Input", self._inputs)
        self.Output = schema("Output", self._outputs)
        self.max_batch = _MAX_BATCH if self._batched else 1
        self.description = self._session.get_modelmeta().description or self.description

    def predict(self, inputs: Sequence[BaseModel | Rows]) -> list[BaseModel | Rows]:
        """Run the graph: once for a batch of items that have one shape, else for each.

        Rows are answered with rows, which are no copies of what ONNX Runtime has given.

        Raises:
            InvalidInput: Of any of them; see `Tensor.array`.
        """
        fed = [one if isinstance(one, Rows) else self._rows(one) for one in inputs]
        results = [rows for batch in self._batches(fed) for rows in self._run_batch(batch)]
        return [
            rows if isinstance(one, Rows) else self._answer(rows)
            for one, rows in zip(inputs, results, strict=True)
        ]

    def _rows(self, item: BaseModel) -> Rows:
        """An item as one row."""
        arrays = [tensor.array(item) for tensor in self._inputs]
        return Rows([array[None] for array in arrays] if self._batched else arrays, 1)

    def _batches(self, fed: Sequence[Rows]) -> Iterable[Sequence[Rows]]:
        """What is computed in one run each."""
        shapes = {tuple(array.shape[1:] for array in rows.arrays) for rows in fed}
        return [fed] if self._batched and len(shapes) == 1 else [[rows] for rows in fed]

    def _run_batch(self, batch: Sequence[Rows]) -> list[Rows]:
        if len(batch) == 1 and not self._batched:
            return [Rows(self._run(batch[0].arrays), 1)]
        columns = zip(*(rows.arrays for rows in batch), strict=True)
        # A copy of what is there only once would cost as much as a small graph.
        results = self._run([parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in columns])
        ends = [*accumulate(rows.count for rows in batch)]
        for tensor, result in zip(self._outputs, results, strict=True):
            if len(result) != ends[-1]:
                raise ValueError(
                    f"the graph gave {len(result)} of {tensor.name} for a batch of {ends[-1]}; where its "
                    "first dimension is not that of a batch, model.toml must say batched = false"
                )
        return [
            Rows([result[end - rows.count : end] for result in results], rows.count)
            for rows, end in zip(batch, ends, strict=True)
        ]

    def _run(self, arrays: Sequence[Array]) -> list[Any]:
        feeds = {tensor.name: array for tensor, array in zip(self._inputs, arrays, strict=True)}
        results: list[Any] = self._session.run([tensor.name for tensor in self._outputs], feeds)
        return results

    def _answer(self, rows: Rows) -> BaseModel:
        """The answer for an item, which was one row."""
        fields: dict[str, Any] = {}
        for tensor, result in zip(self._outputs, rows.arrays, strict=True):
            fields |= tensor.values(result[0] if self._batched else result)
        return self.Output(**fields)
