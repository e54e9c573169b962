"""The kind `onnx`: schemas made from graphs, and answers by ONNX Runtime."""

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from pydantic import ValidationError

from facet_serving import Double
from inference_server.models.encodings.tensors import Rows
from inference_server.models.kinds.onnx import OnnxModel
from inference_server.models.kinds.tensors import Array
from tests.support import onnx_models
from utils.errors import InvalidInput, InvalidModel


def loaded(folder: Path, **options: object) -> OnnxModel:
    """A model of this folder."""
    model = OnnxModel()
    model.load(folder, options)
    return model


def answers(model: OnnxModel, *inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """What the model makes of these inputs."""
    found = model.predict([model.Input(**fields) for fields in inputs])
    return [answer.model_dump() for answer in found if not isinstance(answer, Rows)]


def identity(folder: Path, dimensions: onnx_models.Dimensions, kind: int = TensorProto.FLOAT) -> OnnxModel:
    """A model whose answer `y` is its input `x`."""
    node = helper.make_node("Identity", ["x"], ["y"])
    inputs, outputs = onnx_models.tensor("x", dimensions, kind), onnx_models.tensor("y", dimensions, kind)
    return loaded(onnx_models.save(folder, [node], [inputs], [outputs]))


def test_an_item_is_a_flat_list_without_the_batch_dimension(tmp_path: Path) -> None:
    """The schema is the graph's, less its first dimension where that varies."""
    model = loaded(onnx_models.linear(tmp_path))
    assert answers(model, {"x": [1, 2, 3]}) == [{"y": [3, 5, 7]}]
    assert model.Input.model_json_schema()["properties"]["x"] == {
        "description": "float32, row-major, shape [3]",
        "items": {"type": "number"},
        "maxItems": 3,
        "minItems": 3,
        "title": "X",
        "type": "array",
    }


def test_a_batch_is_one_run_whose_answers_are_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits together is computed together."""
    model = loaded(onnx_models.linear(tmp_path))
    runs = []
    run = model._run

    def counted(arrays: Sequence[Array]) -> list[Any]:
        runs.append(len(arrays[0]))
        return run(arrays)

    monkeypatch.setattr(model, "_run", counted)
    found = answers(model, *({"x": [number, 0, 0]} for number in range(5)))
    assert [answer["y"][0] for answer in found] == [1, 3, 5, 7, 9]
    assert runs == [5]
    assert model.max_batch > 1


def test_a_fixed_first_dimension_belongs_to_the_item(tmp_path: Path) -> None:
    """A graph that takes exactly one batch is run for each input."""
    model = loaded(onnx_models.linear(tmp_path, batch=2))
    found = answers(model, {"x": [1, 2, 3, 4, 5, 6]}, {"x": [0] * 6})
    assert found == [{"y": [3, 5, 7, 9, 11, 13]}, {"y": [1] * 6}]
    assert model.max_batch == 1


def test_a_variable_first_dimension_can_be_the_items_own(tmp_path: Path) -> None:
    """`batched = false` leaves it in the item, which may then have any number of rows."""
    model = loaded(onnx_models.linear(tmp_path), batched=False)
    assert answers(model, {"x": [1, 2, 3, 4, 5, 6]}) == [{"y": [3, 5, 7, 9, 11, 13]}]


def test_a_classifier_of_scikit_learn_answers_label_and_probabilities(tmp_path: Path) -> None:
    """Its sequence of maps gives each item one map, of numbers that add up to 1."""
    model = loaded(onnx_models.iris(tmp_path))
    setosa, virginica = answers(
        model, {"float_input": [5.1, 3.5, 1.4, 0.2]}, {"float_input": [6.7, 3.3, 5.7, 2.5]}
    )
    assert (setosa["label"], virginica["label"]) == (0, 2)
    assert set(setosa["probabilities"]) == {0, 1, 2}
    assert math.isclose(sum(setosa["probabilities"].values()), 1, rel_tol=1e-5)
    assert setosa["probabilities"][0] == max(setosa["probabilities"].values())


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TensorProto.FLOAT16, [0.5, -2]),
        (TensorProto.FLOAT, [1.5, -2]),
        (TensorProto.DOUBLE, [0.1, 1e300]),
        (TensorProto.INT8, [-128, 127]),
        (TensorProto.INT32, [-(2**31), 5]),
        (TensorProto.INT64, [-(2**63), 2**63 - 1]),
        (TensorProto.UINT8, [0, 255]),
        (TensorProto.UINT32, [0, 2**32 - 1]),
        (TensorProto.BOOL, [True, False]),
        (TensorProto.STRING, ["äöü", ""]),
    ],
)
def test_every_accepted_type_comes_back_as_it_went(tmp_path: Path, kind: int, values: list[object]) -> None:
    """Numbers, truth values and texts."""
    model = identity(tmp_path, ["n", 2], kind)
    assert answers(model, {"x": values}, {"x": values[::-1]}) == [{"y": values}, {"y": values[::-1]}]


def test_a_double_is_one_of_protobuf_too(tmp_path: Path) -> None:
    """Other numbers with fractions have 32 bits there."""
    model = identity(tmp_path, ["n", 2], TensorProto.DOUBLE)
    assert model.Input.model_fields["x"].annotation == list[Annotated[float, Double]]


def test_an_item_without_dimensions_is_one_value(tmp_path: Path) -> None:
    """Not a list of one."""
    assert answers(identity(tmp_path, ["n"]), {"x": 2.5}, {"x": 3}) == [{"y": 2.5}, {"y": 3}]


def test_one_variable_dimension_follows_from_the_number_of_values(tmp_path: Path) -> None:
    """Items of different lengths are answered, each by a run of its own."""
    model = identity(tmp_path, ["n", "length", 2])
    assert answers(model, {"x": [1, 2]}, {"x": [1, 2, 3, 4]}) == [{"y": [1, 2]}, {"y": [1, 2, 3, 4]}]
    with pytest.raises(InvalidInput, match=r"3 values; accepted: a flat list for the shape \[any, 2\]"):
        answers(model, {"x": [1, 2, 3]})
    with pytest.raises(InvalidInput):
        answers(model, {"x": []})


def test_several_variable_dimensions_need_their_shape(tmp_path: Path) -> None:
    """It stands beside the values, in the answer too."""
    model = identity(tmp_path, ["n", "height", "width"])
    item = {"x": [1, 2, 3, 4, 5, 6], "x_shape": [2, 3]}
    assert answers(model, item) == [{"y": [1, 2, 3, 4, 5, 6], "y_shape": [2, 3]}]
    for shape in ([4, 2], [-2, -3], [0, 6]):
        with pytest.raises(InvalidInput, match="6 values and the shape"):
            answers(model, item | {"x_shape": shape})
    with pytest.raises(ValidationError):
        answers(model, {"x": [1]})


@pytest.mark.parametrize("fields", [{"x": [1, 2]}, {"x": [1, 2, 3, 4]}, {"x": [1, 2, 3], "z": 1}, {}])
def test_the_schema_refuses_what_the_graph_cannot_take(tmp_path: Path, fields: dict[str, object]) -> None:
    """Too few or too many numbers, an unknown or a missing member."""
    model = loaded(onnx_models.linear(tmp_path))
    with pytest.raises(ValidationError):
        model.Input(**fields)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(TensorProto.INT8, 128), (TensorProto.UINT8, -1), (TensorProto.INT64, 2**63), (TensorProto.FLOAT, 1e39)],
)
def test_a_number_out_of_the_types_range_is_refused(tmp_path: Path, kind: int, value: float) -> None:
    """It never wraps around or becomes infinite."""
    with pytest.raises(InvalidInput) as caught:
        answers(identity(tmp_path, ["n", 1], kind), {"x": [value]})
    assert caught.value.field == "x"


def test_names_of_a_graph_become_names_of_a_schema(tmp_path: Path) -> None:
    """Exporters write dots, colons and bare numbers; pydantic has names of its own."""
    names = {"serving_default_in.1:0": "serving_default_in_1_0", "495": "n495", "json": "json_"}
    nodes = [helper.make_node("Identity", [name], [f"_{name}"]) for name in names]
    inputs = [onnx_models.tensor(name, ["n"]) for name in names]
    outputs = [onnx_models.tensor(f"_{name}", ["n"]) for name in names]
    model = loaded(onnx_models.save(tmp_path, nodes, inputs, outputs))
    assert list(model.Input.model_fields) == list(names.values())
    item = dict(zip(names.values(), (1, 2, 3), strict=True))
    assert answers(model, item) == [item]


def test_names_that_meet_are_refused(tmp_path: Path) -> None:
    """Two inputs cannot be one member."""
    nodes = [helper.make_node("Add", ["a.b", "a:b"], ["y"])]
    inputs = [onnx_models.tensor("a.b", ["n"]), onnx_models.tensor("a:b", ["n"])]
    with pytest.raises(InvalidModel, match="would be called a_b"):
        loaded(onnx_models.save(tmp_path, nodes, inputs, [onnx_models.tensor("y", ["n"])]))


def test_a_type_that_no_schema_has_is_refused(tmp_path: Path) -> None:
    """The reason names it and what is accepted."""
    with pytest.raises(
        InvalidModel, match=r"x of the graph is of type tensor\(uint64\); accepted: tensor\(float16\)"
    ):
        identity(tmp_path, ["n", 1], TensorProto.UINT64)


@pytest.mark.security(
    endpoint="files",
    attack="A file that is no ONNX graph",
    outcome="Refused, without a path",
)
@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x08" * 50])
def test_a_file_that_is_no_model_is_refused_without_its_path(tmp_path: Path, content: bytes) -> None:
    """The reason is ONNX Runtime's, less the folders."""
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InvalidModel, match=r"model\.onnx cannot be loaded as ONNX: ") as caught:
        loaded(tmp_path)
    assert str(tmp_path) not in caught.value.detail
    assert caught.value.field == "file"


@pytest.mark.security(
    endpoint="files",
    attack="A graph that refers to weights outside its folder",
    outcome="Refused, without a path",
)
def test_weights_outside_the_folder_are_refused_without_their_path(tmp_path: Path) -> None:
    """A graph may refer to files beside it, and to no others."""
    (tmp_path / "secret").write_bytes(np.array([1, 2], np.float32).tobytes())
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "../secret"), ("offset", "0"), ("length", "8")):
        weights.external_data.add(key=key, value=value)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    values = [onnx_models.tensor("x", ["n", 2])], [onnx_models.tensor("y", ["n", 2])]
    model = helper.make_model(
        helper.make_graph(nodes, "test", *values, [weights]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    folder = tmp_path / "version"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidModel, match="escapes") as caught:
        loaded(folder)
    assert str(tmp_path) not in caught.value.detail


@pytest.mark.parametrize(
    ("options", "field", "reason"),
    [
        ({"fil": "model.onnx"}, "fil", "no key of this kind of model; accepted: file, batched"),
        ({"file": 3}, "file", "valid string"),
        ({"file": "other.onnx"}, "file", "no such file"),
        ({"file": "../outside.onnx"}, "file", "leads out of the version's folder"),
        ({"file": "/etc/passwd"}, "file", "leads out of the version's folder"),
        ({"file": "link.onnx"}, "file", "leads out of the version's folder"),
    ],
)
def test_options_that_cannot_be_are_refused_by_their_key(
    tmp_path: Path, options: dict[str, object], field: str, reason: str
) -> None:
    """Unknown keys, wrong types, and files that are not the version's own."""
    folder = onnx_models.linear(tmp_path / "version")
    (tmp_path / "outside.onnx").write_bytes((folder / "model.onnx").read_bytes())
    (folder / "link.onnx").symlink_to(tmp_path / "outside.onnx")
    with pytest.raises(InvalidModel, match=reason) as caught:
        loaded(folder, **options)
    assert caught.value.field == field


@pytest.mark.security(
    endpoint="models",
    attack="A graph whose answers are not those of its batch",
    outcome="The call fails; nobody is given another's answer",
)
def test_a_graph_whose_answers_are_not_the_batchs_fails_instead_of_mixing_them(tmp_path: Path) -> None:
    """Its first dimension varies, but with something else than the batch."""
    nodes = [helper.make_node("Reshape", ["x", "flat"], ["y"])]
    values = [onnx_models.tensor("x", ["n", 2])], [onnx_models.tensor("y", [None])]
    model = loaded(onnx_models.save(tmp_path, nodes, *values, flat=np.array([-1])))
    with pytest.raises(ValueError, match="batched = false"):
        answers(model, {"x": [1, 1]})


def test_the_kind_loads_neither_pillow_nor_the_detector(tmp_path: Path) -> None:
    """A process that serves an ONNX model has only what that needs."""
    onnx_models.linear(tmp_path)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from inference_server.models.kinds.onnx import OnnxModel\n"
        f"OnnxModel().load(Path({str(tmp_path)!r}), {{}})\n"
        "unwanted = ('PIL', 'onnx', 'inference_server.detector', 'inference_server.images', 'grpc')\n"
        "print([name for name in unwanted if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"


def test_the_models_own_description_is_kept(tmp_path: Path) -> None:
    """Where its maker has written one into the file."""
    onnx_models.linear(tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    model.doc_string = "Doubles, and adds one."
    onnx.save(model, tmp_path / "model.onnx")
    assert loaded(tmp_path).description == "Doubles, and adds one."
