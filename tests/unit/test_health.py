"""Rules of what a worker says of its health."""

import asyncio

from grpc_health.v1 import health_pb2

from inference_server.api.health import HealthServicer


def test_nothing_is_served_until_it_is_said() -> None:
    """Neither the service nor the server as a whole, of which gRPC says from the start on that it serves."""

    async def told() -> list[int]:
        health = HealthServicer(["Inference"])
        listed = await health.List(health_pb2.HealthListRequest(), None)
        before = [listed.statuses[name].status for name in ("", "Inference")]
        await health.tell(serving=True)
        listed = await health.List(health_pb2.HealthListRequest(), None)
        return before + [listed.statuses[name].status for name in ("", "Inference")]

    answers = health_pb2.HealthCheckResponse
    assert asyncio.run(told()) == [answers.NOT_SERVING] * 2 + [answers.SERVING] * 2
