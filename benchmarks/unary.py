"""Calls of bare gRPC methods, bytes in and bytes out: a process of its own, started by the functions here."""

import base64
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import grpc

from benchmarks.pairs import take_turns
from benchmarks.processes import carry_out
from tests.support.model_backend import message_classes

_TIMEOUT_SECONDS = 60


class Method(NamedTuple):
    """A method, such as `/Inference/Predict`, where it is served, and the bytes that it is called with."""

    address: str
    path: str
    request: bytes


class Answered(NamedTuple):
    """A call that was answered: when, in seconds since the start of the run, and how long it took."""

    ended: float
    latency: float


def typed(address: str, name: str, **values: object) -> Method:
    """The method of a model's own, with an input as a message of its own type."""
    message, _ = message_classes(address, name)
    request: bytes = message(**values).SerializeToString()
    return Method(address, f"/model_grpc_service.ModelgRPCService/{name}_predict", request)


def in_turn(methods: Sequence[Method], rounds: int) -> list[list[float]]:
    """Seconds of each call of each method, over a connection each, one call at a time."""
    seconds: list[list[float]] = carry_out(__name__, {"methods": _encoded(methods), "rounds": rounds})
    return seconds


def closed_loop(method: Method, clients: int, seconds: float) -> list[Answered]:
    """Keep so many calls under way, each over a connection of its own, for so long; none may fail."""
    plan = {"methods": _encoded([method]), "clients": clients, "seconds": seconds}
    return [Answered(*row) for row in carry_out(__name__, plan)]


def _encoded(methods: Sequence[Method]) -> list[tuple[str, str, str]]:
    return [(each.address, each.path, base64.b64encode(each.request).decode()) for each in methods]


def _connected(method: Method) -> Callable[[], bytes]:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    channel = grpc.insecure_channel(method.address, options)
    call: Any = channel.unary_unary(method.path)
    return lambda: call(method.request, timeout=_TIMEOUT_SECONDS)


def _loop(method: Method, clients: int, seconds: float) -> list[Answered]:
    calls = [_connected(method) for _ in range(clients)]
    for call in calls:
        call()
    start = time.monotonic()

    def client(call: Callable[[], bytes]) -> list[Answered]:
        rows = []
        while (sent := time.monotonic()) - start < seconds:
            call()
            ended = time.monotonic()
            rows.append(Answered(ended - start, ended - sent))
        return rows

    with ThreadPoolExecutor(clients) as threads:
        return [row for rows in threads.map(client, calls) for row in rows]


def main() -> None:
    """Carry out the plan on standard input."""
    plan: dict[str, Any] = json.loads(sys.stdin.readline())
    methods = [Method(address, path, base64.b64decode(sent)) for address, path, sent in plan["methods"]]
    if "rounds" in plan:
        print(json.dumps(take_turns([_connected(method) for method in methods], plan["rounds"])))
    else:
        print(json.dumps(_loop(methods[0], plan["clients"], plan["seconds"])))


if __name__ == "__main__":
    main()
