"""Many pictures by a batch, a stream and callers in turn: a process of its own, which the functions start.

In each round every way has the same pictures once, in another order of the ways than in the round before, and
then the picture that the batch had its first answer to is sent alone.
"""

import http.client
import itertools
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from benchmarks.pictures import blank, photographs
from benchmarks.processes import carry_out
from tests.support.batches import KIND, PATH, of_files
from tests.support.raw_http import post_head
from utils.domain import Detection
from utils.service_client import ServiceClient
from utils.settings import parse_address

CALLERS = 16
_TIMEOUT = 120


class Round(NamedTuple):
    """Seconds of one round.

    Attributes:
        batch: Until all pictures were answered, by `/predict/batch`.
        stream: By PredictStream.
        callers: By 16 callers of Predict.
        first: Until the first answer of the batch.
        alone: Of the picture that it was for, by `/predict`.
    """

    batch: float
    stream: float
    callers: float
    first: float
    alone: float


def measure(http_address: str, grpc_address: str, count: int, rounds: int) -> list[Round]:
    """Measure with so many photographs, or drawn pictures where there are none."""
    plan = {"http": http_address, "grpc": grpc_address, "count": count, "rounds": rounds}
    return [Round(*one) for one in carry_out(__name__, plan)]


def send_large(http_address: str, size: int, count: int) -> None:
    """Send a batch of so many pictures of so many bytes, each."""
    carry_out(__name__, {"http": http_address, "size": size, "count": count})


class _Batch:
    """A batch that is sent over a connection of its own, by a thread."""

    def __init__(self, address: str, pictures: Sequence[bytes]) -> None:
        self._where, self._count = parse_address(address), len(pictures)
        body = of_files(pictures)
        fields = ("Connection: close", f"X-Request-Timeout: {_TIMEOUT}")
        self._request = post_head(len(body), *fields, kind=KIND, path=PATH) + body

    def send(self) -> tuple[float, int]:
        """When the first answer was there, by the clock, and the index of its picture; all are waited for."""
        with socket.create_connection((self._where.host, self._where.port), timeout=_TIMEOUT) as connection:
            sender = threading.Thread(target=connection.sendall, args=[self._request])
            sender.start()
            response = http.client.HTTPResponse(connection)
            response.begin()
            first = json.loads(response.readline())
            first_at = time.perf_counter()
            *_, last = response.read().splitlines()
            sender.join()
        assert json.loads(last).items() >= {"done": True, "ok": self._count, "failed": 0}.items(), last
        return first_at, first["index"]


class _Alone:
    """Calls of `/predict`, over one connection."""

    def __init__(self, address: str) -> None:
        where = parse_address(address)
        self._connection = http.client.HTTPConnection(where.host, where.port, timeout=_TIMEOUT)

    def send(self, picture: bytes) -> float:
        """Seconds of a call."""
        start = time.perf_counter()
        self._connection.request("POST", "/predict", picture, {"Content-Type": "image/jpeg"})
        response = self._connection.getresponse()
        answer = response.read()
        assert response.status == http.client.OK, answer
        return time.perf_counter() - start


def _rounds(plan: dict[str, Any]) -> list[Round]:
    pictures = photographs(plan["count"]) or [blank(300_000)] * plan["count"]
    batch, alone = _Batch(plan["http"], pictures), _Alone(plan["http"])
    with ServiceClient(plan["grpc"], timeout=_TIMEOUT) as client, ThreadPoolExecutor(CALLERS) as threads:

        def stream() -> None:
            outcomes = [outcome for _, outcome in client.detect_many(pictures)]
            assert all(isinstance(outcome, Detection) for outcome in outcomes)

        def callers() -> None:
            assert len(list(threads.map(client.detect, pictures))) == len(pictures)

        alone.send(pictures[0])
        batch.send()
        ways: dict[str, Callable[[], object]] = {"stream": stream, "callers": callers, "batch": batch.send}
        measured = []
        orders = itertools.cycle(itertools.permutations(ways))
        for _ in range(plan["rounds"]):
            seconds: dict[str, float] = {}
            for name in next(orders):
                start = time.perf_counter()
                result = ways[name]()
                seconds[name] = time.perf_counter() - start
                if isinstance(result, tuple):
                    first_at, index = result
                    seconds["first"] = first_at - start
                    seconds["alone"] = alone.send(pictures[index])
            measured.append(Round(**seconds))
    return measured


def main() -> None:
    """Carry out the plan on standard input."""
    plan: dict[str, Any] = json.loads(sys.stdin.readline())
    if "size" in plan:
        _Batch(plan["http"], [blank(plan["size"])] * plan["count"]).send()
        print(json.dumps(None))
    else:
        print(json.dumps(_rounds(plan)))


if __name__ == "__main__":
    main()
