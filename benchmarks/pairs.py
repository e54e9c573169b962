"""Calls one after another, of several services in turn: a process of its own, started by `measure`.

A service is `grpc` or `http`, an address, and for TLS the files of a client's end: authorities, certificate,
key. In every round each is called once, in one order after another until all orders have had their turn, so
that whatever disturbs the machine disturbs them alike, and none has always the same one before it.
"""

import itertools
import json
import re
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pictures import blank
from benchmarks.processes import carry_out
from utils.domain import DetectOptions, DetectRequest
from utils.service_client import ServiceClient
from utils.settings import parse_address
from utils.tls import ClientTls

WARM_UP = 50
"""Rounds before those that count."""


def measure(services: Sequence[tuple[str, ...]], size: int, rounds: int) -> list[list[float]]:
    """Seconds of each call of each service with a picture of so many bytes; the detector does not sleep."""
    plan = {"services": services, "size": size, "rounds": rounds}
    seconds: list[list[float]] = carry_out("benchmarks.pairs", plan)
    return seconds


def _grpc(address: str, picture: bytes, *files: str) -> Callable[[], object]:
    tls = None
    if files:
        ca, cert, key = map(Path, files)
        tls = ClientTls(ca, cert_file=cert, key_file=key)
    client = ServiceClient(address, tls=tls)
    request = DetectRequest(picture, DetectOptions(threshold_output=0.0))
    return lambda: client.detect(request)


def _http(address: str, picture: bytes) -> Callable[[], object]:
    """Send what was written beforehand over one connection: a client library takes time of its own."""
    where = parse_address(address)
    connection = socket.create_connection((where.host, where.port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = (
        f"POST /predict?threshold_output=0 HTTP/1.1\r\nHost: {where}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(picture)}\r\n\r\n"
    )
    request = head.encode() + picture

    def call() -> None:
        connection.sendall(request)
        answer = b""
        while not _is_whole(answer):
            piece = connection.recv(65536)
            if not piece:
                raise RuntimeError("the gateway has closed the connection")
            answer += piece
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"the gateway answers {answer[:500]!r}")

    return call


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\nContent-Length: (\d+)", head)
    return bool(end) and length is not None and len(body) >= int(length[1])


_KINDS: dict[str, Callable[..., Callable[[], object]]] = {"grpc": _grpc, "http": _http}


def take_turns(calls: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of each of the calls, in so many rounds after those of the warm-up."""
    times: list[list[float]] = [[] for _ in calls]
    orders = itertools.cycle(itertools.permutations(zip(calls, times, strict=True)))
    for number in range(WARM_UP + rounds):
        for call, taken in next(orders):
            start = time.perf_counter()
            call()
            if number >= WARM_UP:
                taken.append(time.perf_counter() - start)
    return times


def main() -> None:
    """Carry out the plan on standard input."""
    plan: dict[str, Any] = json.loads(sys.stdin.readline())
    picture = blank(plan["size"])
    calls = [_KINDS[kind](address, picture, *files) for kind, address, *files in plan["services"]]
    print(json.dumps(take_turns(calls, plan["rounds"])))


if __name__ == "__main__":
    main()
