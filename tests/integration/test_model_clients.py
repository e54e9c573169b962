"""Rules of both clients about models, against a real gRPC server."""

import asyncio
import json
import math
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, cast

import grpc
import pytest

from tests.support.fake_backend import echo, failing, fake_backend
from tests.support.processes import PATIENCE
from utils.async_service_client import AsyncServiceClient
from utils.cancellation import Cancellation
from utils.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidInput,
    MalformedRequest,
    MessageTooLarge,
    ModelNotFound,
)
from utils.models import ModelDescription, Prediction
from utils.service_client import ServiceClient

MIB = 1024**2

Caller = Callable[..., Any]
"""Calls a method of a client of its own: target, the method's name, its arguments."""


def blocking(target: str, method: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
    """By the blocking client."""
    with ServiceClient(target) as client:
        return getattr(client, method)(*arguments, **options)


def awaited(target: str, method: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
    """By the client for asyncio."""

    async def scenario() -> object:
        async with AsyncServiceClient(target) as client:
            return cast(object, await getattr(client, method)(*arguments, **options))

    return asyncio.run(scenario())


@pytest.fixture(params=[blocking, awaited], ids=lambda caller: caller.__name__)
def call(request: pytest.FixtureRequest) -> Caller:
    """Each of the two clients."""
    caller: Caller = request.param
    return caller


def test_a_call_carries_input_version_id_and_deadline(call: Caller) -> None:
    """And gives what the model has answered."""
    with fake_backend() as backend:
        answer = call(
            backend.target,
            "predict",
            "iris",
            {"width": 0.5, "name": "é"},
            version="2.9",
            timeout=700,
            request_id="id-1",
        )
    assert answer == {"width": 0.5, "name": "é"}
    [came] = backend.calls
    assert (came.message.name, came.message.version) == ("iris", "2.9")
    assert json.loads(came.message.json) == answer
    assert came.metadata["x-request-id"] == "id-1"
    assert "x-timeout-source" not in came.metadata
    assert 500 < came.remaining < 701


def test_an_input_may_be_json_already(call: Caller) -> None:
    """Then nobody looks into it."""
    with fake_backend() as backend:
        assert call(backend.target, "predict", "iris", b'{"a":  1}') == {"a": 1}
    [came] = backend.calls
    assert came.message.json == b'{"a":  1}'
    assert came.metadata["x-timeout-source"] == "default"


def test_bytes_travel_as_base64(call: Caller) -> None:
    """Of the standard alphabet, at any depth."""
    inputs = {"picture": b"\xfb\xff\xfe\x00", "more": [bytearray(b"a"), memoryview(b"b")]}
    with fake_backend() as backend:
        answer = call(backend.target, "predict", "iris", inputs)
    assert answer == {"picture": "+//+AA==", "more": ["YQ==", "Yg=="]}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (math.nan, "Out of range"),
        (math.inf, "Out of range"),
        (1j, "of the type complex"),
        ("\ud800", "surrogates"),
    ],
)
def test_what_json_cannot_say_is_malformed(call: Caller, value: object, words: str) -> None:
    """Nothing is sent: a null in its place would be another input."""
    with fake_backend() as backend:
        with pytest.raises(MalformedRequest, match=words):
            call(backend.target, "predict", "iris", {"value": value})
        assert backend.calls == []


def test_an_input_without_an_end_or_too_deep_is_malformed(call: Caller) -> None:
    """One that is within itself, or within very many others."""
    endless: dict[str, object] = {}
    endless["again"] = endless
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with fake_backend() as backend:
        for inputs in (endless, {"deep": deep}):
            with pytest.raises(MalformedRequest):
                call(backend.target, "predict", "iris", inputs)
        assert backend.calls == []


@pytest.mark.parametrize(
    "content_type", ["application/json", "multipart/form-data; boundary=B"], ids=["JSON", "multipart"]
)
def test_a_body_of_http_is_passed_on_as_it_came(call: Caller, content_type: str) -> None:
    """And so is the answer, with the version that has given it."""
    with fake_backend() as backend:
        answer = call(backend.target, "predict_raw", "iris", content_type, b'\x00{"a"')
    assert answer == Prediction("iris", "2.9", b'\x00{"a"')
    [came] = backend.calls
    if content_type == "application/json":
        assert came.message.json == b'\x00{"a"'
    else:
        assert (came.message.body.content_type, came.message.body.content) == (content_type, b'\x00{"a"')


def test_an_encoded_input_is_passed_on_as_it_came(call: Caller) -> None:
    """With the name of its encoding and what belongs to it; and so is the answer."""
    with fake_backend() as backend:
        answer = call(
            backend.target, "predict_encoded", "iris", "oip", b"\x00x", parameters=b"p", version="2.10"
        )
    assert answer == Prediction("iris", "2.10", b"\x00x")
    [came] = backend.calls
    assert (came.message.name, came.message.version) == ("iris", "2.10")
    encoded = came.message.encoded
    assert (encoded.operation, encoded.content, encoded.parameters) == ("oip", b"\x00x", b"p")


def test_the_models_are_listed_in_the_order_of_the_backend(call: Caller) -> None:
    """What is not known of one that has never been loaded is None or empty."""
    with fake_backend() as backend:
        faces, loading, ready = call(backend.target, "models")
    assert (faces.name, faces.version, faces.state, faces.default) == ("face_detection", "1.0", "ready", True)
    assert (loading.input_schema, loading.output_schema, loading.operations) == (None, None, ())
    assert asdict(ready) == {
        "name": "iris",
        "version": "2.9",
        "state": "ready",
        "default": True,
        "display_name": "Iris",
        "description": "Names a flower.",
        "kind": "python",
        "max_batch": 8,
        "operations": ("typed", "json", "multipart"),
        "input_schema": {"type": "object"},
        "output_schema": {"type": "object", "title": "Species"},
        "descriptor": b"a descriptor",
        "input_type": "iris_input",
        "output_type": "iris_output",
        "tensors": {"inputs": [], "outputs": [], "batched": True},
    }


@pytest.mark.parametrize(("version", "found"), [((), "2.9"), (("2.10",), "2.10")], ids=["default", "named"])
def test_one_version_is_described(call: Caller, version: tuple[str, ...], found: str) -> None:
    """Which of them serves calls that name none, the backend decides."""
    with fake_backend() as backend:
        model: ModelDescription = call(backend.target, "describe", "iris", *version)
    assert model.version == found
    assert backend.calls[0].message.version == "".join(version)


@pytest.mark.parametrize("method", ["predict", "describe", "models"])
@pytest.mark.parametrize(
    "error", [ModelNotFound("None.", field="name"), InvalidInput("Bad.", field="pictures.2.data")]
)
def test_an_error_of_the_backend_is_raised_as_it_was(call: Caller, method: str, error: Any) -> None:  # noqa: ANN401
    """With the field at fault."""
    arguments: dict[str, tuple[Any, ...]] = {"predict": ("iris", {}), "describe": ("iris",), "models": ()}
    with fake_backend(failing(error)) as backend:
        with pytest.raises(type(error)) as caught:
            call(backend.target, method, *arguments[method])
        assert (caught.value.detail, caught.value.field) == (error.detail, error.field)
        assert len(backend.calls) == 1


def test_a_deadline_ends_a_call_and_says_nothing_of_faces(call: Caller) -> None:
    """There need not be any."""
    with fake_backend() as backend:
        backend.answer = backend.hold
        with pytest.raises(DeadlineExceeded, match="more time") as caught:
            call(backend.target, "predict", "iris", {}, timeout=0.2)
    assert "face" not in caught.value.detail


def test_an_input_of_32_mib_is_sent_and_sent_again(call: Caller) -> None:
    """A larger one than a picture may be; both limits are of the client, not of one kind of call."""
    content = b'{"a": "' + b"x" * (32 * MIB - 9) + b'"}'
    with fake_backend(failing(grpc.StatusCode.UNAVAILABLE, times=1)) as backend:
        answer = call(backend.target, "predict_raw", "iris", "application/json", content, timeout=60)
        assert len(answer.content) == 32 * MIB
        assert len(backend.calls) == 2


def test_an_input_over_the_limit_is_too_large(call: Caller) -> None:
    """It is not sent."""
    with fake_backend() as backend:
        with pytest.raises(MessageTooLarge):
            call(backend.target, "predict", "iris", b"x" * (33 * MIB))
        assert backend.calls == []


def test_a_call_of_a_model_can_be_cancelled_from_another_thread() -> None:
    """Its place in the backend is free then."""
    cancellation = Cancellation()
    with fake_backend() as backend, ServiceClient(backend.target, timeout=60) as client:
        backend.answer = backend.hold

        def cancel() -> None:
            assert backend.began.acquire(timeout=PATIENCE)
            cancellation.cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        with pytest.raises(Cancelled):
            client.predict("iris", {}, cancellation=cancellation)
        canceller.join()
        assert backend.cancelled.wait(PATIENCE)
        backend.answer = echo
        assert client.predict("iris", {"a": 1}) == {"a": 1}
