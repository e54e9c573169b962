"""Calls one after another, of several services in turn: a process of its own, started by `measure`.

A service is `grpc` or `http` and an address. In every round each is called once, and the order turns round
from one round to the next, so that whatever disturbs the machine disturbs them alike.
"""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.pictures import blank
from tests.processes import ROOT
from utils.domain import DetectOptions, DetectRequest
from utils.service_client import ServiceClient
from utils.settings import parse_address

WARM_UP = 50
"""Rounds before those that count."""


def measure(services: Sequence[tuple[str, str]], size: int, rounds: int) -> list[list[float]]:
    """Seconds of each call of each service with a picture of so many bytes; the detector does not sleep."""
    plan = {"services": services, "size": size, "rounds": rounds}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.pairs"],
        cwd=ROOT,
        input=json.dumps(plan),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds: list[list[float]] = json.loads(done.stdout)
    return seconds


def _grpc(address: str, picture: bytes) -> Callable[[], object]:
    client = ServiceClient(address)
    request = DetectRequest(picture, DetectOptions(threshold_output=0.0))
    return lambda: client.detect(request)


def _http(address: str, picture: bytes) -> Callable[[], object]:
    where = parse_address(address)
    connection = http.client.HTTPConnection(where.host, where.port, timeout=60)
    headers = {"Content-Type": "application/octet-stream"}

    def call() -> None:
        connection.request("POST", "/predict?threshold_output=0", picture, headers)
        response = connection.getresponse()
        body = response.read()
        if response.status != http.client.OK:
            raise RuntimeError(f"HTTP {response.status}: {body[:200]!r}")

    return call


_KINDS = {"grpc": _grpc, "http": _http}


def main() -> None:
    """Carry out the plan on standard input."""
    plan: dict[str, Any] = json.loads(sys.stdin.read())
    picture = blank(plan["size"])
    calls = [_KINDS[kind](address, picture) for kind, address in plan["services"]]
    times: list[list[float]] = [[] for _ in calls]
    turn = list(zip(calls, times, strict=True))
    for number in range(WARM_UP + plan["rounds"]):
        for call, taken in turn:
            start = time.perf_counter()
            call()
            if number >= WARM_UP:
                taken.append(time.perf_counter() - start)
        turn.reverse()
    print(json.dumps(times))


if __name__ == "__main__":
    main()
