"""The Open Inference Protocol in JSON, and in JSON with binary parts."""

import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from pydantic import BaseModel

from facet_serving import Model
from inference_server.catalogue.entries import Source
from inference_server.models.contract import LoadedModel
from tests.support import onnx_models
from tests.support.loaded_models import call, loaded, refusal
from tests.support.open_inference import body, document, raw
from utils.errors import InvalidInput, MalformedRequest

X: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [2, 2]}
ROWS = [[1.5, 2.0], [-3.0, 0.0]]
BINARY = raw("FP32", ROWS)


class Content(BaseModel):
    content: bytes


class Reverses(Model):
    """Gives back bytes from their end."""

    Input = Content
    Output = Content

    def predict(self, inputs: list[Any]) -> list[Any]:
        return [Content(content=one.content[::-1]) for one in inputs]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """An identity of rows of numbers."""
    return identity(tmp_path_factory.mktemp("rows"), ["batch", "length"])


def identity(folder: Path, dimensions: onnx_models.Dimensions, kind: int = TensorProto.FLOAT) -> LoadedModel:
    """A model whose output `y` is its input `x`."""
    node = helper.make_node("Identity", ["x"], ["y"])
    x, y = onnx_models.tensor("x", dimensions, kind), onnx_models.tensor("y", dimensions, kind)
    return loaded(Source("onnx", onnx_models.save(folder, [node], [x], [y])))


@pytest.mark.parametrize("data", [ROWS, [1.5, 2, -3, 0], [[[1.5, 2.0]], [[-3, 0]]]])
def test_json_may_be_nested_as_it_likes(rows: LoadedModel, data: list[Any]) -> None:
    """Elements count in row-major order, and come back flat."""
    sent, parameters = body({"id": "é", "inputs": [{**X, "data": data}]})
    answer, behind = document(call(rows, "oip_http", sent, parameters))
    y = {"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [1.5, 2, -3, 0]}
    assert answer == {"id": "é", "model_name": "model", "model_version": "1", "outputs": [y]}
    assert behind == b""


def test_a_tensor_may_stand_behind_the_json_and_be_wanted_there(rows: LoadedModel) -> None:
    """By the parameter of the request, or of the output, which goes before."""
    x = {**X, "parameters": {"binary_data_size": len(BINARY)}}
    for document_part, is_binary in (
        ({}, False),
        ({"parameters": {"binary_data_output": True}}, True),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": True}}]}, True),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
            },
            False,
        ),
    ):
        sent, parameters = body({"inputs": [x], **document_part}, BINARY)
        answer, behind = document(call(rows, "oip_http", sent, parameters))
        [y] = answer["outputs"]
        assert behind == (BINARY if is_binary else b"")
        expected = {"parameters": {"binary_data_size": 16}} if is_binary else {"data": [1.5, 2, -3, 0]}
        assert y == {"name": "y", "datatype": "FP32", "shape": [2, 2], **expected}


def test_binary_parts_belong_to_the_inputs_that_have_a_size_in_their_order(tmp_path: Path) -> None:
    """Those in JSON are between them."""
    node = helper.make_node("Concat", ["a", "b", "c"], ["y"], axis=1)
    shapes = [onnx_models.tensor(name, ["batch", 1]) for name in "abc"]
    output = onnx_models.tensor("y", ["batch", 3])
    model = loaded(Source("onnx", onnx_models.save(tmp_path, [node], shapes, [output])))
    one = {"datatype": "FP32", "shape": [1, 1]}
    binary = {**one, "parameters": {"binary_data_size": 4}}
    inputs = [{"name": "c", **binary}, {"name": "b", **one, "data": [2]}, {"name": "a", **binary}]
    sent, parameters = body({"inputs": inputs}, raw("FP32", [3]), raw("FP32", [1]))
    answer, _ = document(call(model, "oip_http", sent, parameters))
    assert answer["outputs"][0]["data"] == [1, 2, 3]


def test_bytes_are_texts_in_json_and_base64_where_their_parameter_says_so() -> None:
    """What is no text is answered in binary form only."""
    model = loaded(Reverses)
    tensor = {"name": "content", "datatype": "BYTES", "shape": [1]}

    def ask(values: dict[str, Any], **others: object) -> tuple[bytes, bytes]:
        return body({"inputs": [{**tensor, **values}], **others})

    answer, _ = document(call(model, "oip_http", *ask({"data": ["abc"]})))
    assert answer["outputs"][0]["data"] == ["cba"]
    encoded = {"data": ["/wA="], "parameters": {"content_type": "base64"}}
    error = refusal(model, "oip_http", *ask(encoded))
    assert error.detail == "content is no text; accepted: asking for it with binary_data"
    _, behind = document(call(model, "oip_http", *ask(encoded, parameters={"binary_data_output": True})))
    assert behind == raw("BYTES", [b"\0\xff"])
    error = refusal(model, "oip_http", *ask({**encoded, "data": ["/"]}))
    assert error.detail.startswith("content is not base64")


def test_a_classification_is_a_list_of_texts(rows: LoadedModel) -> None:
    """As over gRPC."""
    outputs = [{"name": "y", "parameters": {"classification": 1}}]
    answer, _ = document(call(rows, "oip_http", *body({"inputs": [{**X, "data": ROWS}], "outputs": outputs})))
    y = {"name": "y", "datatype": "BYTES", "shape": [2, 1], "data": ["2.000000:1", "0.000000:1"]}
    assert answer["outputs"] == [y]


def test_numbers_that_json_does_not_have_are_answered_in_binary_form(rows: LoadedModel) -> None:
    """No null stands in their place."""
    content = raw("FP32", [[np.nan, 1], [0, 0]])
    x = {**X, "parameters": {"binary_data_size": 16}}
    error = refusal(rows, "oip_http", *body({"inputs": [x]}, content))
    assert error.detail == "y has a number that is not finite; accepted: asking for it with binary_data"
    asked = {"inputs": [x], "parameters": {"binary_data_output": True}}
    assert document(call(rows, "oip_http", *body(asked, content)))[1] == content


TYPES = {
    "BOOL": (TensorProto.BOOL, [True, False], [True, 0]),
    "INT8": (TensorProto.INT8, [-128, 127], [0, 128]),
    "UINT32": (TensorProto.UINT32, [0, 2**32 - 1], [-1, 0]),
    "INT64": (TensorProto.INT64, [-(2**63), 2**63 - 1], [0.5, 1]),
    "FP64": (TensorProto.DOUBLE, [0.1, 3], ["0.1", "3"]),
    "BYTES": (TensorProto.STRING, ["é", ""], [1, 2]),
}
"""For each datatype its number in graphs, what is accepted, and what is not."""


def test_a_number_too_large_for_the_datatype_is_refused(rows: LoadedModel) -> None:
    """It does not become infinite."""
    error = refusal(rows, "oip_http", *body({"inputs": [{**X, "shape": [1, 1], "data": [1e39]}]}))
    assert (error.detail, error.field) == ("x has a number out of the range of FP32", "x")


@pytest.mark.parametrize("datatype", TYPES)
def test_json_must_have_what_the_datatype_has(tmp_path: Path, datatype: str) -> None:
    """Nothing is rounded, cut off or taken for something else."""
    kind, good, bad = TYPES[datatype]
    model = identity(tmp_path, ["batch"], kind)
    x = {"name": "x", "datatype": datatype, "shape": [2]}
    answer, _ = document(call(model, "oip_http", *body({"inputs": [{**x, "data": good}]})))
    assert answer["outputs"][0]["data"] == good
    error = refusal(model, "oip_http", *body({"inputs": [{**x, "data": bad}]}))
    assert (type(error), error.field) == (InvalidInput, "x")
    assert datatype in error.detail


@pytest.mark.security(
    endpoint="oip",
    attack="Texts where numbers belong, which would take 4 GB as an array",
    outcome="Refused; less than 20 MB is taken",
)
def test_texts_where_numbers_belong_take_no_more_memory_than_they_have(rows: LoadedModel) -> None:
    """A row of NumPy's own texts would have the length of the longest for each: here 4 GB."""
    x = {**X, "shape": [1, 10_000], "data": ["a" * 100_000, *["b"] * 9_999]}
    sent = body({"inputs": [x]})
    tracemalloc.start()
    try:
        error = refusal(rows, "oip_http", *sent)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert error.detail == "x has data of another type than FP32"


def test_halves_are_taken_in_binary_form_only(tmp_path: Path) -> None:
    """The protocol has no JSON for them."""
    model = identity(tmp_path, ["batch"], TensorProto.FLOAT16)
    x = {"name": "x", "datatype": "FP16", "shape": [1]}
    error = refusal(model, "oip_http", *body({"inputs": [{**x, "data": [1]}]}))
    assert error.detail == "x is of type FP16; accepted: its data in binary form"
    binary = {**x, "parameters": {"binary_data_size": 2}}
    answer, _ = document(call(model, "oip_http", *body({"inputs": [binary]}, raw("FP16", [0.5]))))
    assert answer["outputs"][0]["data"] == [0.5]


BAD: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "no inputs": ({}, b"", "inputs is missing, or not of the type array."),
    "inputs": ({"inputs": [1]}, b"", "inputs is no array of objects."),
    "id": ({"inputs": [], "id": 7}, b"", "id is missing, or not of the type string."),
    "parameters": (
        {"inputs": [], "parameters": []},
        b"",
        "parameters is missing, or not of the type object.",
    ),
    "binary_data_output": (
        {"inputs": [], "parameters": {"binary_data_output": 1}},
        b"",
        "binary_data_output is missing, or not of the type boolean.",
    ),
    "outputs": ({"inputs": [], "outputs": "y"}, b"", "outputs is missing, or not of the type array."),
    "no data": ({"inputs": [X]}, b"", "data is missing, or not of the type array."),
    "shape": (
        {"inputs": [{**X, "shape": ["2", 2], "data": []}]},
        b"",
        "x has a shape that is no array of whole numbers",
    ),
    "count": ({"inputs": [{**X, "data": [1]}]}, b"", "x has 1 elements; accepted for its shape: 4"),
    "no elements": (
        {"inputs": [{**X, "shape": [2**64 - 1, 0], "data": []}]},
        b"",
        "x has the shape [18446744073709551615, 0]; accepted: 268435456 elements at most",
    ),
    "null": ({"inputs": [{**X, "data": [None] * 4}]}, b"", "x has data of another type than FP32"),
    "size": (
        {"inputs": [{**X, "parameters": {"binary_data_size": 17}}]},
        BINARY,
        "x has the binary_data_size 17; accepted: 0 to 16, what is left of the body",
    ),
    "size of another type": (
        {"inputs": [{**X, "parameters": {"binary_data_size": "16"}}]},
        BINARY,
        "x has the binary_data_size 16; accepted: 0 to 16, what is left of the body",
    ),
    "data and size": (
        {"inputs": [{**X, "data": ROWS, "parameters": {"binary_data_size": 16}}]},
        BINARY,
        "x has data and binary_data_size; accepted: one of them",
    ),
    "too much": ({"inputs": [{**X, "data": ROWS}]}, b"12", "2 bytes of the body belong to no input"),
    "shared memory": (
        {"inputs": [{**X, "parameters": {"shared_memory_region": "r"}}]},
        b"",
        "x is in shared memory; accepted: contents in the request",
    ),
    "binary_data": (
        {"inputs": [{**X, "data": ROWS}], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
        b"",
        "y has a parameter binary_data that is not true or false",
    ),
    "classification": (
        {"inputs": [{**X, "data": ROWS}], "outputs": [{"name": "y", "parameters": {"classification": "2"}}]},
        b"",
        "y has a parameter classification that is no whole number from 0",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_by_the_protocol_is_refused_by_its_name(rows: LoadedModel, case: str) -> None:
    """Tensors by theirs, members by theirs."""
    asked, binary, detail = BAD[case]
    error = refusal(rows, "oip_http", *body(asked, *([binary] if binary else [])))
    assert type(error) in {InvalidInput, MalformedRequest}
    assert error.detail == detail


@pytest.mark.parametrize("length", [0, -1, 100, 1.5, "7", True])
def test_the_length_of_the_json_is_within_the_body(rows: LoadedModel, length: object) -> None:
    """Its header is named."""
    parameters = json.dumps({"header_length": length}).encode()
    error = refusal(rows, "oip_http", b'{"inputs": []}', parameters)
    assert (type(error), error.field) == (MalformedRequest, "Inference-Header-Content-Length")


@pytest.mark.parametrize("parameters", [b"x", b"[]", b"\xff"])
def test_parameters_that_are_no_json_object_are_malformed(rows: LoadedModel, parameters: bytes) -> None:
    """Whoever has sent them: the gateway is not the only one that may."""
    refused = refusal(rows, "oip_http", b"{}", parameters)
    assert (type(refused), refused.field) == (MalformedRequest, "parameters")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 5000, b"\xff"])
def test_a_body_that_is_no_json_object_is_malformed(rows: LoadedModel, content: bytes) -> None:
    """However deep it is."""
    assert type(refusal(rows, "oip_http", content)) is MalformedRequest


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        (b'{"id": "1", "inputs": [], "id": "2"}', "id"),
        (b'{"inputs": [{"name": "x"}, {"name": "x", "shape": [1], "shape": [2]}]}', "inputs.1.shape"),
        (b'{"inputs": [], "outputs": [{"parameters": {"a": 1, "\\u0061": 2}}]}', "outputs.0.parameters.a"),
    ],
)
def test_a_name_that_an_object_has_twice_is_refused(rows: LoadedModel, sent: bytes, path: str) -> None:
    """By the path of the member."""
    error = refusal(rows, "oip_http", sent)
    assert (type(error), error.field) == (MalformedRequest, path)


@pytest.mark.security(
    endpoint="oip",
    attack="JSON of 1,000 nested lists",
    outcome="Refused",
)
def test_names_are_compared_no_deeper_than_can_be_read(rows: LoadedModel) -> None:
    """Of what may have one twice."""
    sent = b'{"inputs": [], "outputs": [{"a": 1}, {"a": ' + b"[" * 1000 + b"]" * 1000 + b"}]}"
    assert refusal(rows, "oip_http", sent).detail == "The request is nested too deeply."


def test_texts_may_be_nested_very_deeply(tmp_path: Path) -> None:
    """As deeply as JSON is read at all."""
    model = identity(tmp_path, ["batch"], TensorProto.STRING)
    deep = b"[" * 1000 + b'"a"' + b"]" * 1000
    sent = b'{"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": ' + deep + b"}]}"
    answer, _ = document(call(model, "oip_http", sent))
    assert answer["outputs"][0]["data"] == ["a"]


def test_an_answer_begins_with_the_length_of_its_json(rows: LoadedModel) -> None:
    """Which is all of it where nothing is behind it."""
    answer = call(rows, "oip_http", *body({"inputs": [{**X, "data": ROWS}]}))
    assert struct.unpack_from("<I", answer) == (len(answer) - 4,)
