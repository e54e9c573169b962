"""The Open Inference Protocol to models of the kind `onnx`: their tensors as the graph has them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from inference_server.catalogue.entries import Source
from inference_server.models.contract import LoadedModel
from inference_server.models.encoding import unpack_answer
from inference_server.models.encodings.arrays import from_raw
from protos.oip import message_class
from tests.support import loaded_models, onnx_models
from tests.support.loaded_models import call, handled, loaded, refusal
from tests.support.open_inference import answered, elements, raw, request, tensor
from utils.errors import FacetError, InvalidInput, MalformedRequest, ModelFailed

TYPES: dict[str, tuple[int, str, list[Any]]] = {
    "BOOL": (TensorProto.BOOL, "bool_contents", [True, False]),
    "UINT8": (TensorProto.UINT8, "uint_contents", [0, 255]),
    "UINT16": (TensorProto.UINT16, "uint_contents", [0, 65535]),
    "UINT32": (TensorProto.UINT32, "uint_contents", [0, 2**32 - 1]),
    "INT8": (TensorProto.INT8, "int_contents", [-128, 127]),
    "INT16": (TensorProto.INT16, "int_contents", [-32768, 32767]),
    "INT32": (TensorProto.INT32, "int_contents", [-(2**31), 2**31 - 1]),
    "INT64": (TensorProto.INT64, "int64_contents", [-(2**63), 2**63 - 1]),
    "FP16": (TensorProto.FLOAT16, "", [0.5, -65504.0]),
    "FP32": (TensorProto.FLOAT, "fp32_contents", [0.5, 1.25]),
    "FP64": (TensorProto.DOUBLE, "fp64_contents", [0.1, 1e300]),
    "BYTES": (TensorProto.STRING, "bytes_contents", ["é".encode(), b""]),
}
"""For each datatype that a graph may have its number there, its field, and values at its ends."""


X = tensor("x:0", "FP32", [1, 2])
PAIR = raw("FP32", [1, 2])


def identity(folder: Path, dimensions: onnx_models.Dimensions, kind: int = TensorProto.FLOAT) -> LoadedModel:
    """A model whose output `y.1` is its input `x:0`."""
    node = helper.make_node("Identity", ["x:0"], ["y.1"])
    x, y = onnx_models.tensor("x:0", dimensions, kind), onnx_models.tensor("y.1", dimensions, kind)
    return loaded(Source("onnx", onnx_models.save(folder, [node], [x], [y])))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """An identity of rows of two numbers."""
    return identity(tmp_path_factory.mktemp("rows"), ["batch", 2])


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """An identity without a batch dimension."""
    return identity(tmp_path_factory.mktemp("fixed"), [2, 3])


@pytest.mark.parametrize("datatype", TYPES)
def test_every_datatype_is_taken_raw_and_answered_raw(tmp_path: Path, datatype: str) -> None:
    """Bit by bit, at the ends of its range."""
    kind, _, values = TYPES[datatype]
    model = identity(tmp_path, ["batch"], kind)
    sent = request(tensor("x:0", datatype, [2]), raws=[raw(datatype, values)])
    answer = message_class("ModelInferResponse").FromString(call(model, "oip", sent))
    assert [(one.name, one.datatype, one.shape) for one in answer.outputs] == [("y.1", datatype, [2])]
    assert answer.raw_output_contents == [raw(datatype, values)]


@pytest.mark.parametrize("datatype", TYPES)
def test_every_datatype_that_has_a_field_is_taken_in_it(tmp_path: Path, datatype: str) -> None:
    """The answer is raw all the same, for clients read nothing else."""
    kind, field, values = TYPES[datatype]
    model = identity(tmp_path, ["batch"], kind)
    if field:
        sent = request(tensor("x:0", datatype, [2], **{field: values}))
        assert answered(call(model, "oip", sent)) == {"y.1": values}
    else:
        error = refusal(model, "oip", request(tensor("x:0", datatype, [1], fp32_contents=[1])))
        assert "x:0 is of type FP16; accepted: its contents in raw_input_contents" in error.detail


def test_a_number_of_a_typed_field_must_fit_the_datatype(tmp_path: Path) -> None:
    """The field is wider."""
    model = identity(tmp_path, ["batch"], TensorProto.INT8)
    error = refusal(model, "oip", request(tensor("x:0", "INT8", [1], int_contents=[128])))
    assert (error.detail, error.field) == ("x:0 has a number out of the range of INT8", "x:0")


@pytest.mark.parametrize(("datatype", "code"), [("UINT64", "<u8"), ("BF16", "<u2")])
def test_datatypes_that_no_graph_here_has_are_read_as_well(datatype: str, code: str) -> None:
    """BF16 as its two bytes."""
    assert from_raw("x", datatype, b"\1\2" * 8, 16 // np.dtype(code).itemsize).dtype == np.dtype(code)


def test_raw_contents_are_read_where_they_lie(rows: LoadedModel) -> None:
    """None is copied on its way to the graph, unless numbers are not at their places in memory."""
    content = memoryview(bytes(17))
    for start, shared in ((0, True), (1, False)):
        part = content[start : start + 16]
        assert np.shares_memory(from_raw("x", "FP32", part, 4), np.frombuffer(part, np.uint8)) is shared
    padded = [request(X, raws=[PAIR], id="i" * length) for length in range(4)]
    places = [np.frombuffer(sent, np.uint8) for sent in padded]
    read: list[Any] = [rows._operations["oip"].open(sent, b"")[0][0] for sent in padded]
    shares = [np.shares_memory(one.arrays[0], place) for one, place in zip(read, places, strict=True)]
    assert sorted(shares) == [False, False, False, True]


def test_the_card_has_the_names_types_and_shapes_of_the_graph(rows: LoadedModel, fixed: LoadedModel) -> None:
    """Not those of its schema, which may not have all characters."""
    assert rows.card["tensors"] == {
        "inputs": [{"name": "x:0", "datatype": "FP32", "shape": [-1, 2], "required": True}],
        "outputs": [{"name": "y.1", "datatype": "FP32", "shape": [-1, 2], "required": True}],
        "batched": True,
    }
    assert fixed.card["tensors"]["inputs"][0]["shape"] == [2, 3]
    assert not fixed.card["tensors"]["batched"]


def test_a_graph_without_a_batch_dimension_takes_exactly_its_shape(fixed: LoadedModel) -> None:
    """As one item."""
    values = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    sent = request(tensor("x:0", "FP32", [2, 3]), raws=[raw("FP32", values)])
    assert answered(call(fixed, "oip", sent)) == {"y.1": values}


def test_the_answer_has_the_id_and_the_model_and_its_version_as_a_whole_number(rows: LoadedModel) -> None:
    """1.0 is 1 in this protocol."""
    sent = request(tensor("x:0", "FP32", [1, 2]), raws=[raw("FP32", [1, 2])], id="é-1", model_name="other")
    answer = message_class("ModelInferResponse").FromString(call(rows, "oip", sent))
    assert (answer.model_name, answer.model_version, answer.id) == ("model", "1", "é-1")


def test_more_rows_than_a_batch_takes_are_computed_in_parts(
    rows: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And come back as one tensor; requests that come together share runs, whatever their encoding."""
    runs: list[int] = []
    run = rows._model._run  # type: ignore[attr-defined]

    def counted(arrays: list[Any]) -> Any:  # noqa: ANN401
        runs.append(len(arrays[0]))
        return run(arrays)

    monkeypatch.setattr(rows._model, "_run", counted)
    values = np.arange(80, dtype=np.float32).reshape(40, 2).tolist()
    large = request(tensor("x:0", "FP32", [40, 2]), raws=[raw("FP32", values)])
    small = request(tensor("x:0", "FP32", [3, 2]), raws=[raw("FP32", values[:3])])
    works = [loaded_models.request("oip", one) for one in (large, small)]
    works.append(loaded_models.request("json", {"x_0": [7, 8]}))
    found = [unpack_answer(outcome.answer) for outcome in handled(rows, *works)]
    contents = [content for content, _ in found]
    assert answered(contents[0]) == {"y.1": values}
    assert answered(contents[1]) == {"y.1": values[:3]}
    assert contents[2] == b'{"y_1":[7.0,8.0]}'
    assert runs == [16, 16, 12]
    assert [log_fields["batch"] for _, log_fields in found] == [16, 12, 12]


def test_numbers_that_are_not_finite_pass(rows: LoadedModel) -> None:
    """A graph may know what to do with them."""
    sent = request(tensor("x:0", "FP32", [1, 2]), raws=[raw("FP32", [np.inf, -np.inf])])
    assert answered(call(rows, "oip", sent)) == {"y.1": [[np.inf, -np.inf]]}


def test_maps_of_classes_are_json(tmp_path: Path) -> None:
    """Of each item, as scikit-learn's converters give them beside a label."""
    model = loaded(Source("onnx", onnx_models.iris(tmp_path)))
    sent = request(tensor("float_input", "FP32", [2, 4]), raws=[raw("FP32", [[5, 3, 1, 0], [6, 3, 5, 2]])])
    answer = answered(call(model, "oip", sent))
    assert answer["label"] == [0, 2]
    assert all(one.startswith(b'{"0":') for one in answer["probabilities"])


def test_the_outputs_that_are_asked_for_come_in_that_order(tmp_path: Path) -> None:
    """And no others."""
    nodes = [helper.make_node("Neg", ["x"], ["minus"]), helper.make_node("Abs", ["x"], ["plus"])]
    shapes = [onnx_models.tensor(name, ["batch"]) for name in ("x", "minus", "plus")]
    model = loaded(Source("onnx", onnx_models.save(tmp_path, nodes, shapes[:1], shapes[1:])))
    x = tensor("x", "FP32", [2])
    found = [
        [*answered(call(model, "oip", request(x, raws=[raw("FP32", [1, -2])], outputs=asked))).items()]
        for asked in ((), ["plus", "minus"], ["plus"])
    ]
    minus, plus = ("minus", [-1, 2]), ("plus", [1, 2])
    assert found == [[minus, plus], [plus, minus], [plus]]


def test_a_classification_is_the_highest_values_with_their_places(rows: LoadedModel) -> None:
    """As texts, best first, of each item."""
    values = [[0.25, 0.75], [2.0, -1.0]]
    x, content = tensor("x:0", "FP32", [2, 2]), [raw("FP32", values)]
    asked = request(x, raws=content, outputs=[("y.1", 1)])
    answer = message_class("ModelInferResponse").FromString(call(rows, "oip", asked))
    [output] = answer.outputs
    assert (output.datatype, output.shape) == ("BYTES", [2, 1])
    found = elements("BYTES", output.shape, answer.raw_output_contents[0])
    assert found == [[b"0.750000:1"], [b"2.000000:0"]]
    more = answered(call(rows, "oip", request(x, raws=content, outputs=[("y.1", 9)])))
    assert more["y.1"][1] == [b"2.000000:0", b"-1.000000:1"]


BAD: dict[str, tuple[bytes, str, str]] = {
    "nothing": (request(), "x:0 is missing; the model takes x:0", "x:0"),
    "unknown": (
        request(X, tensor("z", "FP32", [1]), raws=[PAIR, PAIR]),
        "z is no input of the model; it takes x:0",
        "z",
    ),
    "twice": (request(X, X, raws=[PAIR, PAIR]), "x:0 is there twice; accepted: once", "x:0"),
    "datatype": (
        request(tensor("x:0", "FP64", [1, 2]), raws=[PAIR]),
        "x:0 is of type FP64; accepted: FP32",
        "x:0",
    ),
    "no datatype": (
        request(tensor("x:0", "", [1, 2]), raws=[PAIR]),
        "x:0 is of type ; accepted: FP32",
        "x:0",
    ),
    "dimension": (
        request(tensor("x:0", "FP32", [1, 3]), raws=[PAIR]),
        "x:0 has the shape [1, 3]; accepted: [-1, 2], -1 for any",
        "x:0",
    ),
    "dimensions": (
        request(tensor("x:0", "FP32", [2]), raws=[PAIR]),
        "x:0 has the shape [2]; accepted: [-1, 2], -1 for any",
        "x:0",
    ),
    "very many dimensions": (
        request(tensor("x:0", "FP32", [1] * 100_000), raws=[PAIR]),
        "x:0 has the shape [1, 1, 1, 1, 1, 1, 1, 1, ...]; accepted: [-1, 2], -1 for any",
        "x:0",
    ),
    "negative": (
        request(tensor("x:0", "FP32", [-1, 2]), raws=[PAIR]),
        "x:0 has the shape [-1, 2]; accepted: [-1, 2], -1 for any",
        "x:0",
    ),
    "no rows": (
        request(tensor("x:0", "FP32", [0, 2]), raws=[b""]),
        "x:0 has the shape [0, 2]; accepted: [-1, 2], -1 for any",
        "x:0",
    ),
    "huge": (
        request(tensor("x:0", "FP32", [2**62, 2]), raws=[PAIR]),
        f"x:0 has the shape [{2**62}, 2]; accepted: {1 << 28} elements at most",
        "x:0",
    ),
    "too few bytes": (
        request(X, raws=[PAIR[:-1]]),
        "x:0 has 7 bytes; accepted for its shape and type: 8",
        "x:0",
    ),
    "too few elements": (
        request(tensor("x:0", "FP32", [1, 2], fp32_contents=[1])),
        "x:0 has 1 elements in fp32_contents; accepted for its shape: 2",
        "x:0",
    ),
    "another field": (
        request(tensor("x:0", "FP32", [1, 2], fp64_contents=[1, 2])),
        "x:0 has 0 elements in fp32_contents; accepted for its shape: 2",
        "x:0",
    ),
    "raw and typed": (
        request(tensor("x:0", "FP32", [1, 2], fp32_contents=[1, 2]), raws=[PAIR, PAIR]),
        "contents field must not be specified when using raw_input_contents for 'x:0' for model 'model'",
        "x:0",
    ),
    "raw contents of no input": (
        request(X, raws=[PAIR, PAIR]),
        "There are 2 raw_input_contents for 1 inputs; accepted: one for each",
        "raw_input_contents",
    ),
    "unknown output": (
        request(X, raws=[PAIR], outputs=["x:0"]),
        "x:0 is no output of the model; it gives y.1",
        "x:0",
    ),
    "output twice": (
        request(X, raws=[PAIR], outputs=["y.1", "y.1"]),
        "output 'y.1' already exists in request",
        "y.1",
    ),
    "classification": (
        request(X, raws=[PAIR], outputs=[("y.1", -1)]),
        "y.1 has a parameter classification that is no whole number from 0",
        "y.1",
    ),
}


@pytest.mark.security(
    endpoint="oip",
    attack=(
        "Tensors that lie: shapes that do not fit their data, other datatypes, too many, too few, "
        "unknown or doubled ones"
    ),
    outcome="INVALID_ARGUMENT with the tensor's name",
)
@pytest.mark.parametrize("case", BAD)
def test_what_the_graph_does_not_take_is_refused_by_the_name_of_the_tensor(
    rows: LoadedModel, case: str
) -> None:
    """Before anything is computed."""
    sent, detail, field = BAD[case]
    error = refusal(rows, "oip", sent)
    assert (type(error), error.detail, error.field) == (InvalidInput, detail, field)


BAD_TEXTS = {
    "ends within a length": (b"\1\0\0", "x:0 ends within the length of element 0"),
    "ends within an element": (b"\5\0\0\0ab", "x:0 has 2 bytes for element 0, whose length is 5"),
    "huge": (b"\xff\xff\xff\xffab", f"x:0 has 2 bytes for element 0, whose length is {2**32 - 1}"),
    "too few": (raw("BYTES", [b"a"]), "x:0 has 1 elements; accepted for its shape: 2"),
    "too many": (raw("BYTES", [b"a"] * 9), "x:0 has more elements; accepted for its shape: 2"),
    "not UTF-8": (raw("BYTES", [b"a", b"\xff"]), "x:0 is not UTF-8"),
}


@pytest.mark.security(
    endpoint="oip",
    attack="Elements of bytes that are longer or shorter than they say",
    outcome="INVALID_ARGUMENT",
)
@pytest.mark.parametrize("case", BAD_TEXTS)
def test_elements_of_bytes_must_be_as_long_as_they_say(tmp_path: Path, case: str) -> None:
    """And as many as the shape says; a graph's texts are UTF-8."""
    content, detail = BAD_TEXTS[case]
    model = identity(tmp_path, ["batch"], TensorProto.STRING)
    error = refusal(model, "oip", request(tensor("x:0", "BYTES", [2]), raws=[content]))
    assert (error.detail, error.field) == (detail, "x:0")


@pytest.mark.security(
    endpoint="oip",
    attack="10,001 elements in a field, each of which costs more than its bytes",
    outcome="INVALID_ARGUMENT",
)
def test_very_many_elements_of_bytes_are_taken_raw_only(tmp_path: Path) -> None:
    """In a field each of them costs more than its bytes."""
    model = identity(tmp_path, ["batch"], TensorProto.STRING)
    values, x = [b"a"] * 10_001, tensor("x:0", "BYTES", [10_001])
    assert answered(call(model, "oip", request(x, raws=[raw("BYTES", values)]))) == {"y.1": values}
    typed = request(tensor("x:0", "BYTES", [10_001], bytes_contents=values))
    assert type(refusal(model, "oip", typed)) is MalformedRequest


def test_an_empty_dimension_is_refused(tmp_path: Path) -> None:
    """Graphs are not made for it."""
    model = identity(tmp_path, ["batch", "length"])
    error = refusal(model, "oip", request(tensor("x:0", "FP32", [1, 0]), raws=[b""]))
    assert error.detail == "x:0 has no elements; accepted: 1 or more"


def test_inputs_of_a_batch_have_the_same_number_of_items(tmp_path: Path) -> None:
    """Which one differs is said."""
    node = helper.make_node("Add", ["a", "b"], ["y"])
    shapes = [onnx_models.tensor(name, ["batch"]) for name in "aby"]
    model = loaded(Source("onnx", onnx_models.save(tmp_path, [node], shapes[:2], shapes[2:])))
    inputs = [tensor("a", "FP32", [2]), tensor("b", "FP32", [1])]
    error = refusal(model, "oip", request(*inputs, raws=[bytes(8), bytes(4)]))
    assert (error.detail, error.field) == ("b has 1 items, and a 2; accepted: the same number", "b")


@pytest.mark.security(
    endpoint="oip",
    attack="Bytes that are no message, or one of 10,001 fields",
    outcome="INVALID_ARGUMENT",
)
@pytest.mark.parametrize(
    "content",
    [b"\xff", b"\x0a\x05a", b"\x0b", b"\x00\x01", b"\x0a\x01\xff", b"\x3a\x00" * 10_001],
    ids=["tag", "length", "group", "field 0", "no UTF-8", "fields"],
)
def test_bytes_that_are_no_message_are_malformed(rows: LoadedModel, content: bytes) -> None:
    """Very many fields are not looked at."""
    assert type(refusal(rows, "oip", content)) is MalformedRequest


@pytest.mark.security(
    endpoint="oip",
    attack="A shape of 1,100,000 dimensions",
    outcome="INVALID_ARGUMENT",
)
def test_what_stands_beside_the_contents_of_a_request_is_limited(rows: LoadedModel) -> None:
    """Parsed it may be many times as large."""
    error = refusal(rows, "oip", request(tensor("x:0", "FP32", [1] * 1_100_000), raws=[PAIR]))
    assert type(error) is MalformedRequest
    assert "beside the contents of its inputs; the limit is 1048576" in error.detail


@pytest.mark.security(
    endpoint="oip",
    attack="Tensors in shared memory, to have memory of the server read",
    outcome="INVALID_ARGUMENT",
)
def test_shared_memory_is_refused(rows: LoadedModel) -> None:
    """There is none with callers."""
    x = tensor("x:0", "FP32", [1, 2])
    x.parameters["shared_memory_region"].string_param = "region"
    assert "is in shared memory" in refusal(rows, "oip", request(x)).detail


def test_a_graph_that_fails_is_the_models_failure(tmp_path: Path) -> None:
    """Nothing of its reason is told."""
    node = helper.make_node("Add", ["a", "b"], ["y"])
    shapes = [onnx_models.tensor(name, ["batch", "length"]) for name in "aby"]
    model = loaded(Source("onnx", onnx_models.save(tmp_path, [node], shapes[:2], shapes[2:])))
    inputs = [tensor("a", "FP32", [1, 2]), tensor("b", "FP32", [1, 3])]
    error: FacetError = refusal(model, "oip", request(*inputs, raws=[bytes(8), bytes(12)]))
    assert type(error) is ModelFailed
