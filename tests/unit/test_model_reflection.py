"""Rules of what reflection and health tell of models."""

import asyncio
import logging
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from inference_server.catalogue.entries import State
from tests.support.models import SERVICE, Served, card, play, version

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
PACKAGE = "model_grpc_service"


async def asked(served: Served, protocol: str = "v1", **question: str) -> Any:  # noqa: ANN401
    """What reflection answers."""
    raw = reflection_pb2.ServerReflectionRequest(**question).SerializeToString()

    async def messages() -> Any:  # noqa: ANN401
        yield raw

    call = served.stream(f"/grpc.reflection.{protocol}.ServerReflection/ServerReflectionInfo", messages())
    [answer] = [reflection_pb2.ServerReflectionResponse.FromString(one) async for one in call]
    return answer


async def files_of(served: Served, symbol: str, protocol: str = "v1") -> list[FileDescriptorProto]:
    """The files that a symbol needs, as a client gets them."""
    answer = await asked(served, protocol, file_containing_symbol=symbol)
    return [
        FileDescriptorProto.FromString(raw) for raw in answer.file_descriptor_response.file_descriptor_proto
    ]


async def methods(served: Served) -> set[str]:
    """The methods of the models' service."""
    files = await files_of(served, SERVICE)
    return {method.name for file in files for service in file.service for method in service.method}


@pytest.mark.parametrize("protocol", ["v1", "v1alpha"])
def test_what_reflection_tells_makes_a_client(protocol: str) -> None:
    """All that the models' methods need, in a pool of its own."""

    async def scene(served: Served) -> None:
        files = {file.name: file for file in await files_of(served, SERVICE, protocol)}
        pool = descriptor_pool.DescriptorPool()

        def add(name: str) -> None:
            if file := files.pop(name, None):
                for needed in file.dependency:
                    add(needed)
                pool.Add(file)

        add("facet/typed.proto")
        service: Any = pool.FindServiceByName(SERVICE)
        types = {
            method.name: (method.input_type.name, method.output_type.name, method.client_streaming)
            for method in service.methods
        }
        assert types == {
            "get_models": ("empty", "model_collection", False),
            "a_predict": ("a_input", "a_output", False),
            "a_predict_stream": ("a_input", "a_item", True),
            "b_c_predict": ("b_c_input", "b_c_output", False),
            "b_c_predict_stream": ("b_c_input", "b_c_item", True),
        }

    play(scene, version("a"), version("b-c"), version("a", "2.0"), version("new", card=None))


def test_reflection_tells_what_is_registered_at_this_moment() -> None:
    """On one connection, before and after changes."""

    async def scene(served: Served) -> None:
        assert await methods(served) == {"get_models"}
        served.models.publish(version("a"))
        assert await methods(served) == {"get_models", "a_predict", "a_predict_stream"}
        assert await files_of(served, f"{PACKAGE}.a_item.Error")
        served.models.publish(version("b"))
        assert await methods(served) == {"get_models", "b_predict", "b_predict_stream"}
        assert not await files_of(served, f"{PACKAGE}.a_input")

    play(scene)


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        (f"{SERVICE}.a_predict", "facet/typed.proto"),
        (f"{PACKAGE}.a_output", "facet/models/a.proto"),
        ("Models.Predict", "protos/models.proto"),
        ("Pipeline.run_pipeline", "protos/articles/pipeline.proto"),
        ("Response", "protos/articles/pipeline.proto"),
        ("InferenceServer", "protos/articles/classifier.proto"),
        ("Inference.Predict", "protos/infer.proto"),
        ("Result", "protos/infer.proto"),
    ],
)
def test_each_symbol_is_found_in_its_file(symbol: str, file: str) -> None:
    """Methods and messages; of those that two files have, the first one's, and the file by its name."""

    async def scene(served: Served) -> None:
        found, *_ = await files_of(served, symbol)
        assert found.name == file
        answer = await asked(served, file_by_filename=file)
        assert answer.file_descriptor_response.file_descriptor_proto[0] == found.SerializeToString()

    play(scene, version("a"))


def test_reflection_lists_the_services_of_models() -> None:
    """Each once, whatever models there are."""

    async def scene(served: Served) -> None:
        listed = (await asked(served, list_services="")).list_services_response.service
        names = [one.name for one in listed]
        assert len(set(names)) == len(names)
        assert {SERVICE, "Models", "InferenceServer", "Pipeline", "Inference"} < set(names)

    play(scene)


@pytest.mark.parametrize("other", ["b_input", "a_item"])
def test_a_model_whose_messages_have_others_names_hides_no_other_model(
    other: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Reflection leaves it out, and a line says why."""

    async def scene(served: Served) -> None:
        shown = await methods(served)
        assert {"c_predict"} < shown
        assert "a_predict" not in shown or "b_predict" not in shown
        assert await methods(served) == shown

    with caplog.at_level(logging.WARNING):
        play(scene, version("a", card=card("a", other)), version("b"), version("c"))
    [line] = [record for record in caplog.records if record.message == "model not shown"]
    assert line.__dict__["facet_fields"]["model"] in {"a", "b"}


async def told(served: Served, model: str) -> int | grpc.StatusCode:
    """What health says of a model, when it has had the time to know."""
    served.health.refresh()
    stub: Any = health_pb2_grpc.HealthStub(served.channel)
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=f"models/{model}"), timeout=30)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return int(answer.status)


def test_a_model_is_serving_while_its_default_version_is_ready() -> None:
    """Whatever the others are; and one that is not registered is unknown."""

    async def scene(served: Served) -> None:
        assert await told(served, "a") == NOT_SERVING
        assert await told(served, "b") == SERVING
        assert await told(served, "c") is grpc.StatusCode.NOT_FOUND
        served.models.publish(version("a"))
        assert await told(served, "a") == SERVING
        assert await told(served, "b") is grpc.StatusCode.NOT_FOUND

    play(scene, version("a", state=State.IDLE), version("a", "2.0"), version("b"))


def test_no_model_is_serving_when_the_worker_leaves() -> None:
    """Nor one that is registered then."""

    async def scene(served: Served) -> None:
        assert await told(served, "a") == SERVING
        await served.servicer.tell(serving=False)
        assert await told(served, "a") == NOT_SERVING
        served.models.publish(version("b"))
        assert await told(served, "b") == NOT_SERVING

    play(scene, version("a"))


def test_who_watches_a_model_is_told_of_each_change() -> None:
    """From before it is registered until it is gone."""

    async def scene(served: Served) -> None:
        stub: Any = health_pb2_grpc.HealthStub(served.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="models/a"), timeout=60)
        seen = [(await watch.read()).status]
        for versions in ((version("a", state=State.LOADING),), (version("a"),), ()):
            served.models.publish(*versions)
            served.health.refresh()
            seen.append((await watch.read()).status)
        unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        assert seen == [unknown, NOT_SERVING, SERVING, unknown]

    play(scene)


def test_a_refresh_without_a_change_does_nothing() -> None:
    """It happens four times a second."""

    async def scene(served: Served) -> None:
        served.health.refresh()
        await told(served, "a")
        tasks = asyncio.all_tasks()
        served.health.refresh()
        assert asyncio.all_tasks() == tasks

    play(scene, version("a"))
