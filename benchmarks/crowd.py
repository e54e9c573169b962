"""A crowd of clients, each with one call at a time: a process of its own, started by `measure`.

A client is a thread that waits in a socket. Everything is encoded before the first call and read after the
last, because the crowd shares the CPUs with the servers.
"""

import base64
import http.client
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import grpc

from benchmarks.pictures import assortment
from benchmarks.processes import carry_out
from protos import infer_pb2 as pb
from utils.settings import parse_address

_PATIENCE = 300.0

Send = Callable[[int], bytes | None]
"""Sends the picture of this number; gives the answer, or None where there is none."""


class Call(NamedTuple):
    """What came of a call: seconds since the first of all, and how many faces; None where it failed."""

    sent: float
    ended: float
    picture: int
    faces: int | None


class Crowd(NamedTuple):
    """What came of all calls, and the seconds of CPU that they took of this process."""

    calls: list[Call]
    cpu_seconds: float


def measure(endpoint: str, address: str, pictures: int, clients: int, requests: int) -> Crowd:
    """Send so many requests in all, going round so many pictures, as fast as the clients are answered.

    Args:
        endpoint: `json` (/predict, as base64), `raw` (/predict, as it is) or `grpc`.
        address: Where it is.
        pictures: As `benchmarks.pictures.assortment` takes it.
        clients: Each with a connection of its own, and one request at a time.
        requests: Of all clients together.
    """
    plan = {
        "endpoint": endpoint,
        "address": address,
        "pictures": pictures,
        "clients": clients,
        "requests": requests,
    }
    calls, cpu_seconds = carry_out("benchmarks.crowd", plan)
    return Crowd([Call(*call) for call in calls], cpu_seconds)


# --- in that process --------------------------------------------------------------------------------


def _json(address: str, pictures: Sequence[bytes]) -> Callable[[], Send]:
    bodies = [json.dumps({"image": base64.b64encode(picture).decode()}).encode() for picture in pictures]
    return lambda: _post(address, bodies, "application/json")


def _raw(address: str, pictures: Sequence[bytes]) -> Callable[[], Send]:
    return lambda: _post(address, pictures, "application/octet-stream")


def _post(address: str, bodies: Sequence[bytes], content_type: str) -> Send:
    """A client of /predict, over one connection for as long as the server keeps it."""
    where = parse_address(address)
    connection = http.client.HTTPConnection(where.host, where.port, timeout=_PATIENCE)

    def send(number: int) -> bytes | None:
        try:
            connection.request("POST", "/predict", bodies[number], {"Content-Type": content_type})
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return None
        return answer if response.status == http.client.OK else None

    return send


def _grpc(address: str, pictures: Sequence[bytes]) -> Callable[[], Send]:
    messages = [pb.Image(raw_data=picture).SerializeToString() for picture in pictures]

    def client() -> Send:
        channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        grpc.channel_ready_future(channel).result(_PATIENCE)
        predict: Any = channel.unary_unary("/Inference/Predict")  # bytes to bytes

        def send(number: int) -> bytes | None:
            try:
                answer: bytes = predict(messages[number], timeout=_PATIENCE)
            except grpc.RpcError:
                return None
            return answer

        return send

    return client


_ENDPOINTS = {"json": _json, "raw": _raw, "grpc": _grpc}


def _faces(endpoint: str, answer: bytes | None) -> int | None:
    if answer is None:
        return None
    return len(
        pb.InferResults.FromString(answer).results if endpoint == "grpc" else json.loads(answer)["results"]
    )


def _send_all(clients: Sequence[Send], requests: int, pictures: int) -> list[tuple[float, float, int, Any]]:
    """Each client sends the next picture when it has its answer; gives when, when, which and what."""
    numbers, start = itertools.count(), threading.Barrier(len(clients))
    calls: list[tuple[float, float, int, Any]] = []

    def work(send: Send) -> None:
        start.wait()
        while (number := next(numbers)) < requests:
            sent = time.monotonic()
            answer = send(number % pictures)
            calls.append((sent, time.monotonic(), number % pictures, answer))

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(calls, key=lambda call: call[:2])


def main() -> None:
    """Carry out the plan on standard input."""
    plan: dict[str, Any] = json.loads(sys.stdin.readline())
    _, pictures = assortment(plan["pictures"])
    connect = _ENDPOINTS[plan["endpoint"]](plan["address"], pictures)
    clients = [connect() for _ in range(plan["clients"])]
    before = time.process_time()
    calls = _send_all(clients, plan["requests"], len(pictures))
    used = time.process_time() - before
    first = calls[0][0]
    rows = [
        Call(sent - first, ended - first, number, _faces(plan["endpoint"], answer))
        for sent, ended, number, answer in calls
    ]
    print(json.dumps([rows, used]))


if __name__ == "__main__":
    main()
