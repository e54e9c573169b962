"""Rules of /openapi.json: it describes what there is, all of it, and real answers are as it says."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.context import REQUEST_TIMEOUT
from gateway.forms.extras import EXTRA_OPTIONS
from gateway.openapi import failures
from gateway.openapi.description import ApiDescription
from gateway.recent import Recent
from tests.support.gateway_fakes import MODELS, FakeBackend, app_for
from tests.support.gateway_forms import form
from tests.support.openapi import check, check_answer, described, operations, resolved, undescribed
from tests.support.schemas import Everything, Tree, schema_of
from utils import errors
from utils.domain import DetectOptions
from utils.logs import JsonFormatter
from utils.models import ModelDescription
from utils.settings import Settings
from utils.version import VERSION

Document = Mapping[str, Any]


def document_of(client: FlaskClient) -> Document:
    """What a gateway says of itself."""
    response = client.get("/openapi.json")
    assert (response.status_code, response.content_type) == (200, "application/json")
    document: Document = response.get_json()
    return document


@pytest.fixture(scope="module")
def document() -> Document:
    """That of a gateway whose backend has the fake's models."""
    return document_of(app_for(FakeBackend()).test_client())


def listing(*models: ModelDescription) -> FakeBackend:
    """A backend that has these models."""
    backend = FakeBackend()
    backend.listed = [*models]
    return backend


def model(name: str, version: str = "1.0", **others: Any) -> ModelDescription:  # noqa: ANN401
    """A model that is ready, and takes and answers any object."""
    known: dict[str, Any] = {"input_schema": {"type": "object"}, "output_schema": {"type": "object"}}
    return ModelDescription(name, version, "ready", default=True, **{**known, **others})


# --- what is described ------------------------------------------------------------------------------


def routes(app: Flask) -> set[tuple[str, str]]:
    """Paths and methods; what takes GET takes HEAD, and OPTIONS is answered everywhere."""
    return {
        (re.sub(r"<(?:[^<>]*:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


@pytest.mark.parametrize("oip", ["on", "off"])
def test_every_route_is_described_and_nothing_else(oip: str) -> None:
    """With its methods; the Open Inference Protocol where it is spoken."""
    app = app_for(listing(), FACET_OIP=oip)
    document = document_of(app.test_client())
    assert {(path, method) for path, method, _ in operations(document)} == routes(app)
    unused = [name for name in document["components"]["responses"] if f'/{name}"' not in json.dumps(document)]
    assert unused == []


def test_every_parameter_of_a_path_is_described(document: Document) -> None:
    """Those of its text, and no other."""
    for path, _, operation in operations(document):
        parameters = [resolved(document, one) for one in operation["parameters"]]
        assert [one["name"] for one in parameters if one["in"] == "path"] == re.findall(r"\{(\w+)\}", path)
        assert REQUEST_TIMEOUT in [one["name"] for one in parameters]


def test_the_names_of_operations_are_unique(document: Document) -> None:
    """Programs that make clients name functions after them."""
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


def test_options_have_the_ranges_that_are_enforced(document: Document) -> None:
    """In the query, in forms and in JSON; defaults are in words."""
    schemas = document["components"]["schemas"]
    parameters = document["paths"]["/predict"]["post"]["parameters"]
    in_query = {one["name"]: one["schema"] for one in parameters if one.get("in") == "query"}
    in_json = schemas["FaceOptions"]["properties"]
    for option in fields(DetectOptions):
        for place in (in_query, in_json, schemas["FaceForm"]["properties"]):
            told = place[option.name]
            assert (told["minimum"], told["maximum"]) == option.metadata["bounds"]
            # A program would send it, also where the option is given elsewhere.
            assert "default" not in told
            assert option.default is None or f"Without it {option.default}." in told["description"]
    assert {*in_query} == {*in_json, "image_id"}


@pytest.mark.parametrize(
    ("path", "name", "kinds"),
    [
        ("/predict", "Face", ["quality", "crops", "annotated"]),
        ("/predict/annotated", "AnnotatedFace", ["annotated"]),
    ],
)
def test_what_may_be_included_is_described_with_its_options(
    document: Document, path: str, name: str, kinds: list[str]
) -> None:
    """In the query, in forms and in JSON, where null is accepted, too; only where they have an effect."""
    schemas = document["components"]["schemas"]
    parameters = document["paths"][path]["post"]["parameters"]
    in_query = {one["name"]: one["schema"] for one in parameters if one.get("in") == "query"}
    in_json = schemas[f"{name}Options"]["properties"]
    in_form = schemas[f"{name}Form"]["properties"]
    expected = {name for name, (kind, _) in EXTRA_OPTIONS.items() if kind in kinds}
    assert {one for one in in_query if one.startswith(("crop_", "annotated_"))} == expected
    assert {*in_query} == {*in_json, "image_id"} == {*in_form} - {"image", "metadata"}
    for place in (in_query, in_form, in_json):
        assert place["include"]["items"] == {"enum": kinds}
        for option in expected:
            told, field = place[option], EXTRA_OPTIONS[option][1]
            assert "default" not in told
            assert f"Without it {json.dumps(field.default)}." in told["description"]
            check(document, told, field.default)
            bounds = field.metadata.get("bounds")
            assert bounds is None or (told["minimum"], told["maximum"]) == bounds
            assert ("null" in told["type"]) == (place is in_json)
    if "crops" in kinds:
        assert in_query["crop_shape"]["enum"] == ["aligned", "box"]
        check(document, in_json["crop_shape"], None)


@pytest.mark.parametrize("path", ["/predict", "/predict/annotated"])
def test_the_file_itself_is_the_first_body_of_a_picture(document: Document, path: str) -> None:
    """Pages that send requests then offer to choose one."""
    content = document["paths"][path]["post"]["requestBody"]["content"]
    assert next(iter(content)) == "application/octet-stream"
    assert {*content} == {"application/octet-stream", "image/*", "multipart/form-data", "application/json"}


NEVER_HERE = {
    errors.RouteNotFound: "of no path",
    errors.MethodNotAllowed: "of no method",
    errors.Cancelled: "nobody receives it",
    errors.RequestRefused: "of the management",
    errors.ParameterMissing: "of TorchServe's address",
    errors.TokenRefused: "of TorchServe's address",
}


def test_every_error_is_described_with_its_status(document: Document) -> None:
    """By the paths that can answer with it."""
    told = set()
    for response in document["components"]["responses"].values():
        [problem] = response["content"].values()
        members = problem["schema"]["properties"]
        told |= {(reason, members["status"]["const"]) for reason in members["reason"]["enum"]}
    assert told == {
        (kind.reason, kind.http_status) for kind in errors.error_classes() if kind not in NEVER_HERE
    }
    reasons = document["components"]["schemas"]["Problem"]["properties"]["reason"]["enum"]
    assert reasons == [kind.reason for kind in errors.error_classes()]


# --- real answers -----------------------------------------------------------------------------------

JSON_PICTURE = json.dumps({"image": base64.b64encode(b"picture").decode(), "metadata": {"a": "b"}}).encode()
FORM = form(("image", b"picture"), ("image_id", b"mine"))


@pytest.mark.parametrize(
    "path",
    [
        "/models",
        "/models/iris",
        "/models/iris/2.10",
        "/healthz",
        "/readyz",
        "/version",
        "/openapi.json",
        "/v2/health/live",
        "/v2/health/ready",
    ],
)
def test_answers_are_as_described(client: FlaskClient, document: Document, path: str) -> None:
    """By their schemas, which leave out nothing that is answered."""
    assert_described(document, path, client.get(path))


@pytest.mark.parametrize(
    ("path", "body", "content_type"),
    [
        ("/predict", b"picture", "image/jpeg"),
        ("/predict", JSON_PICTURE, "application/json"),
        ("/predict", *FORM),
        ("/models/iris/predict", b"{}", "application/json"),
        ("/models/iris/2.9/predict", b"{}", "application/json"),
        ("/models/any/predict", b"{}", "application/json"),
    ],
)
def test_what_is_found_is_as_described(
    client: FlaskClient, document: Document, path: str, body: bytes, content_type: str
) -> None:
    """Whatever the body was."""
    assert_described(document, path, client.post(path, data=body, content_type=content_type))


def assert_described(document: Document, path: str, response: TestResponse) -> None:
    """Check a success, and that the document has all of its members."""
    method = response.request.method
    assert response.status_code == 200, response.data
    check_answer(document, path, method, response)
    schema = described(document, path, method, 200)["content"]["application/json"]["schema"]
    assert undescribed(document, schema, response.get_json()) == []


def test_texts_have_the_types_that_are_described(client: FlaskClient, document: Document) -> None:
    """Of the root, and of the pages and their files."""
    files = ["docs/docs.js", "docs/swagger-ui.css", "page/main.js", "page/page.css", "page/icon.svg"]
    for path in ("/", "/docs", *(f"/{name}" for name in files)):
        for accepted in ("*/*", "text/html"):
            response = client.get(path, headers={"Accept": accepted})
            assert response.content_type in described(document, path, "GET", 200)["content"]


JSON = "application/json"


@pytest.mark.parametrize(
    ("path", "body", "content_type", "group"),
    [
        ("/predict", b"picture", "image/jpeg", failures.FACES),
        ("/models/iris/predict", b"{}", JSON, failures.PREDICTION),
        ("/models/any/predict", b"{}", JSON, failures.PREDICTION),
        ("/v2/models/iris/infer", b"{}", JSON, failures.PROTOCOL_PREDICTION),
        ("/v2/repository/models/iris/load", b"", None, failures.PROTOCOL_CHANGE),
    ],
)
def test_problems_are_as_described(
    document: Document, path: str, body: bytes, content_type: str | None, group: failures.Failures
) -> None:
    """Each error that a path may answer with."""
    backend = FakeBackend()
    client = app_for(backend).test_client()
    for kind in group.kinds:
        backend.failure = kind("What happened.", field="a.b", retry_after=2.0)
        response = client.post(path, data=body, content_type=content_type)
        assert response.get_json()["reason"] == kind.reason
        check_answer(document, path, "POST", response)
        problem = document["components"]["schemas"]["Problem"]
        of_protocol = [".error"] if path.startswith("/v2") else []
        assert undescribed(document, problem, response.get_json()) == of_protocol


def test_the_answers_of_the_open_inference_protocol_are_as_described(document: Document) -> None:
    """As the backend gives them, with all fields of its messages."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1]}
    configured = {"name": "x", "data_type": "TYPE_FP32", "dims": [1]}
    config = {
        "name": "iris",
        "platform": "onnx",
        "max_batch_size": 8,
        "input": [configured | {"optional": False}],
        "output": [configured],
        "backend": "onnx",
    }
    metadata = {
        "name": "iris",
        "versions": ["1"],
        "platform": "onnx",
        "inputs": [tensor],
        "outputs": [tensor],
    }
    index = {"models": [{"name": "iris", "version": "1", "state": "READY", "reason": ""}]}
    for method, path, told in (
        ("GET", "/v2", {"name": "facet", "version": VERSION, "extensions": ["parameters"]}),
        ("GET", "/v2/models/iris", metadata),
        ("GET", "/v2/models/iris/versions/1/config", {"config": config}),
        ("GET", "/v2/models/iris/ready", {"ready": True}),
        ("POST", "/v2/repository/index", index),
        ("POST", "/v2/repository/models/iris/unload", {}),
    ):
        backend = FakeBackend()
        backend.told = told
        response = app_for(backend).test_client().open(path, method=method)
        check_answer(document, path, method, response)


# --- the models -------------------------------------------------------------------------------------


def test_each_version_whose_schemas_are_known_has_a_path_of_its_own(document: Document) -> None:
    """And the default version has that of the name, too; one that was never loaded has none."""
    assert document["x-facet-models"] == "listed"
    paths = {path for path in document["paths"] if path.startswith("/models/iris")}
    assert paths == {"/models/iris/predict", "/models/iris/2.9/predict"}
    schemas = document["components"]["schemas"]
    operation = document["paths"]["/models/iris/predict"]["post"]
    assert operation["summary"] == "Have Iris answer one input"
    assert {**schemas["iris.2.9.answer"], "title": "Species"} == MODELS[1].output_schema


def test_the_schemas_of_a_model_hold_within_the_document() -> None:
    """Whatever they refer to is a component there, and nothing is taken for that of another model."""
    card = schema_of(Everything, Tree).card()
    found = [
        model(name, version, input_schema=card["input_schema"], output_schema=card["output_schema"])
        for name, version in (("a.1", "2"), ("a", "1.2"), ("b", "1"))
    ]
    document = document_of(app_for(listing(*found)).test_client())
    schemas = document["components"]["schemas"]
    assert len([name for name in schemas if name.endswith(".input")]) == 3
    assert {"a..1.2.answer.Tree", "a.1.2.answer.Tree", "b.1.answer.Tree"} <= schemas.keys()
    assert not any("$defs" in one or "title" in one for one in schemas.values())
    tree = {"name": "a", "children": [{"name": "b"}], "parent": None}
    for name in (name for name in schemas if name.endswith(".answer")):
        check(document, {"$ref": f"#/components/schemas/{name}"}, tree)
        with pytest.raises(AssertionError, match="required"):
            check(document, {"$ref": f"#/components/schemas/{name}"}, {"name": "a", "children": [{}]})


def test_a_form_has_files_where_json_has_base64() -> None:
    """For models that take forms; what is in lists, too."""
    bytes_schema = {"type": "string", "contentEncoding": "base64", "title": "Data"}
    schema = {
        "type": "object",
        "properties": {"data": bytes_schema, "more": {"type": "array", "items": bytes_schema}},
    }
    taking = model("taking", input_schema=schema, operations=("json", "multipart"))
    document = document_of(app_for(listing(taking, model("other", operations=("json",)))).test_client())
    content = document["paths"]["/models/taking/predict"]["post"]["requestBody"]["content"]
    properties = resolved(document, content["multipart/form-data"]["schema"])["properties"]
    file = {"type": "string", "format": "binary", "title": "Data"}
    assert properties == {"data": file, "more": {"type": "array", "items": file}}
    assert resolved(document, content["application/json"]["schema"]) == schema
    assert [*document["paths"]["/models/other/predict"]["post"]["requestBody"]["content"]] == [
        "application/json"
    ]


def test_without_a_backend_the_rest_is_described() -> None:
    """It says so, and the line in the log has the reason."""
    client = app_for(FakeBackend(errors.BackendUnavailable("Gone."))).test_client()
    document = document_of(client)
    assert document["x-facet-models"] == "unavailable"
    assert "/models/{name}/predict" in document["paths"]
    assert "/models/iris/predict" not in document["paths"]


def test_why_there_are_no_models_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Although the answer is no error."""
    caplog.set_level("INFO")
    app_for(FakeBackend(errors.BackendUnavailable("Gone."))).test_client().get("/openapi.json", buffered=True)
    [record] = [record for record in caplog.records if record.message == "request"]
    assert json.loads(JsonFormatter().format(record))["reason"] == "BACKEND_UNAVAILABLE"


def test_the_models_are_those_of_two_seconds_ago_at_most() -> None:
    """And the document is the same one until they change."""
    backend, now, asked = listing(model("a")), [0.0], []

    def ask() -> list[ModelDescription]:
        asked.append(now[0])
        return [*backend.models()]

    app = app_for(backend)
    models = Recent(ask, fresh_seconds=2, patience=1, clock=lambda: now[0])
    described = ApiDescription(Settings(), {}, models)
    with app.test_request_context("/openapi.json"):
        first = described.file()
        now[0] = 1.9
        backend.listed = [model("a"), model("b")]
        assert described.file() is first
        now[0] = 2.0
        second = described.file()
        assert second is not first
        now[0] = 4.0
        assert described.file() is second
    assert asked == [0.0, 2.0, 4.0]


# --- caches -----------------------------------------------------------------------------------------


def test_a_client_that_has_the_document_is_not_sent_it_again(
    client: FlaskClient, backend: FakeBackend
) -> None:
    """The models belong to it, so that it is another one when they change."""
    etag = client.get("/openapi.json").headers["ETag"]
    same = client.get("/openapi.json", headers={"If-None-Match": etag})
    assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", etag)
    backend.listed = [model("another")]
    other = app_for(backend).test_client().get("/openapi.json", headers={"If-None-Match": etag})
    assert other.status_code == 200
    assert other.headers["ETag"] != etag
