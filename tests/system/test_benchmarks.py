"""Rules of what the benchmarks start: their load, their peers, their contenders."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest

from benchmarks import crowd, pairs, servers, store, unary
from benchmarks.arena import arena
from benchmarks.crowd import Call
from benchmarks.load import Clients, Request
from benchmarks.pictures import blank
from benchmarks.scenarios import batching, protocols
from inference_server.models.kinds.image_classification import ImageClassification
from inference_server.models.kinds.pictures import PictureInput
from protos import infer_pb2
from protos.torchserve import message_class
from tests.support import open_inference
from tests.support.endpoints import call_grpc, post_json
from tests.support.pictures import group_photo, png
from utils.service_client import ServiceClient

Floats = npt.NDArray[np.float64]


def boxes(endpoint: str, address: str, picture: bytes) -> Floats:
    """(N, 4), from the left of the picture to its right."""
    ask = {"json": post_json, "grpc": call_grpc}[endpoint]
    faces = ask(address, picture, {}).faces
    return np.array(sorted(face[:4] for face in faces or []))


def faces(calls: Sequence[Call]) -> dict[int, int]:
    """How many were found in each picture; a call that failed fails the test."""
    assert None not in [call.faces for call in calls]
    return {call.picture: call.faces or 0 for call in calls}


def test_the_articles_design_finds_the_same_faces_as_facet_at_every_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is slower, not worse: the same boxes, to the pixel to which it rounds them, in every picture."""
    monkeypatch.delenv("PHOTOS_DIR", raising=False)  # the pictures are drawn
    with (
        servers.facet(1, sleeping=False, **servers.PATIENT) as (_, ours),
        servers.gateway(ours, **servers.PATIENT) as (_, web),
        servers.article_backend(1) as (_, theirs),
        servers.article_gateway(theirs) as (_, plain),
    ):
        picture = png(group_photo())
        for endpoint, address, other in (("json", web, plain), ("grpc", ours, theirs)):
            expected = boxes(endpoint, address, picture)
            assert expected.shape == (5, 4)
            assert np.abs(boxes(endpoint, other, picture) - expected).max() <= 1
        endpoints = (("json", web), ("raw", web), ("grpc", ours), ("json", plain), ("grpc", theirs))
        crowds = [crowd.measure(endpoint, address, 0, 2, 6) for endpoint, address in endpoints]
    for calls, cpu_seconds in crowds:
        assert sorted(call.picture for call in calls) == [0, 0, 1, 2, 3, 4]
        assert faces(calls) == faces(crowds[0].calls)
        assert min(call.ended - call.sent for call in calls) > 0
        assert cpu_seconds > 0
    assert min(faces(crowds[0].calls).values()) > 0


def test_calls_are_counted_from_when_they_were_due_and_name_who_detected() -> None:
    """Client processes before a backend whose detector sleeps, and before the plain service."""
    with (
        servers.facet(2, sleeping=True, **servers.PATIENT) as (_, ours),
        servers.plain(1, sleeping=True) as plain,
    ):
        clients = Clients(ours, [blank(1000)], 2, processes=2)
        closed = clients.closed_loop(0.5, 4, [0.01])
        requests = [Request(0.02 * number, number % 2, 0, 0.05) for number in range(20)]
        opened = clients.open_loop(requests)
        beside = Clients(plain, [blank(1000)], 2).open_loop(requests[:2])
        both = pairs.measure([("grpc", ours), ("grpc", plain)], 1000, 5)
    assert {row.code for row in (*closed, *opened, *beside)} == {"OK"}
    assert len({row.worker for row in closed}) == 2
    assert [row.at for row in opened] == [request.at for request in requests]
    assert all(row.sent >= row.at for row in opened)
    assert all(row.latency >= row.service >= 0.05 for row in opened)
    assert [len(seconds) for seconds in both] == [5, 5]


def test_models_are_called_in_turn_and_in_loops_by_their_own_methods(tmp_path: Path) -> None:
    """One that reads its input, and one in whose process nothing is read; a failed call ends the run."""
    store.put_class(tmp_path, "typed", store.Sink, max_batch=8)
    store.put_class(tmp_path, "raw", store.Unread)
    chosen = {"FACET_MODEL_STORE": str(tmp_path), "FACET_MODELS": "typed,raw"}
    with servers.facet(1, sleeping=True, **servers.PATIENT, **chosen) as (_, address):
        typed, raw = (unary.typed(address, name, content=bytes(1000)) for name in ("typed", "raw"))
        assert len(typed.request) == len(raw.request) > 1000
        both = unary.in_turn([typed, raw], 5)
        rows = unary.closed_loop(typed, 4, 0.3)
        with ServiceClient(address) as client:
            assert client.predict("typed", {"content": bytes(1000)}) == {"length": 1000}
        with pytest.raises(RuntimeError):
            unary.closed_loop(
                typed._replace(path="/model_grpc_service.ModelgRPCService/none_predict"), 1, 0.1
            )
    assert [len(seconds) for seconds in both] == [5, 5]
    assert len(rows) >= 4
    assert all(row.ended >= row.latency > 0 for row in rows)


def test_the_protocols_that_are_compared_give_the_same_answers(tmp_path: Path) -> None:
    """As many faces in the picture, and all bytes of the tensor."""

    def answer(method: unary.Method) -> bytes:
        with grpc.insecure_channel(method.address, [("grpc.max_receive_message_length", -1)]) as channel:
            call: Any = channel.unary_unary(method.path)
            answered: bytes = call(method.request, timeout=60)
            return answered

    with protocols.served(tmp_path) as methods:
        faces = {name: answer(method) for name, method in methods["faces"].items()}
        tensors = {name: answer(method) for name, method in methods["tensors"].items()}
    found = len(infer_pb2.InferResults.FromString(faces["own"]).results)
    predicted = message_class("inference", "PredictionResponse").FromString(faces["torchserve"])
    assert len(json.loads(predicted.prediction)["results"]) == found == 1
    assert open_inference.answered(faces["oip"])["num_faces"] == [found]
    assert tensors["raw"] == methods["tensors"]["raw"].request
    assert open_inference.answered(tensors["oip"])["y"] == [[0.0] * protocols.NUMBERS]


def test_networks_with_and_without_a_variable_batch_see_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what is compared differs by its batches alone, whichever network there is."""
    pictures = [PictureInput(image=png(group_photo(width, 240))) for width in (320, 400)]
    for folder in {os.environ.get("PHOTOS_DIR", ""), ""}:
        monkeypatch.setenv("PHOTOS_DIR", folder)
        batching.put_all(tmp_path)
        models = [ImageClassification(), ImageClassification()]
        for model, kind in zip(models, ("one", "many"), strict=True):
            model.load(tmp_path / f"classifying_{kind}" / "1.0", batching.NETWORK_KEYS)
        assert [model.max_batch for model in models] == [1, 8]
        one, many = (model.predict(pictures) for model in models)
        assert [answer.class_id for answer in one] == [answer.class_id for answer in many]
        assert [answer.score for answer in one] == pytest.approx([answer.score for answer in many], rel=1e-3)


def test_contenders_in_processes_answer_what_they_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is not there is a reason to be left out, and not an error."""
    monkeypatch.setenv("PHOTOS_DIR", "/nowhere")
    with arena(["onnx", "YuNet"]) as contenders:
        assert contenders.names == ["onnx"]
        assert contenders.absent["YuNet"]
        answer = contenders.ask("onnx", draw=("few", 320, 240), stages=True)
        assert contenders.ask("onnx", draw=("few", 320, 240), only_draw=True) == {}
    ((box, score, landmarks),) = answer["faces"]
    assert 100 < box[0] < box[2] < 200
    assert score > 0.99
    assert len(landmarks) == 5
    assert answer["seconds"] > sum(answer["stages"].values()) > 0
