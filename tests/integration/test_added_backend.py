"""Rules of several backends behind one name: each has its share, and nothing is lost while they change."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc

from protos import infer_pb2 as pb
from protos import infer_pb2_grpc
from tests.support.dns import name_server
from tests.support.facet import free_port
from tests.support.facet import inference as backend
from tests.support.pictures import ASTRONAUT
from tests.support.processes import wait_until
from utils.channel import MIB, channel_options

CALLERS = 4
ENOUGH = 100
"""Calls to the added backend, while connections come and go."""


@contextlib.contextmanager
def load(target: str) -> Iterator[Counter[str]]:
    """Calls through one channel of our clients, without a second try; counts what became of them."""
    options = [
        *channel_options(10 * MIB),
        ("grpc.enable_retries", 0),
        ("grpc.dns_min_time_between_resolutions_ms", 200),  # 30 s in the product
    ]
    counts: Counter[str] = Counter()
    over = threading.Event()
    image = pb.Image(raw_data=ASTRONAUT.read_bytes())

    def call(stub: Any) -> None:  # noqa: ANN401
        while not over.is_set():
            outcome = stub.Predict.future(image, timeout=60)
            counts[outcome.code().name if outcome.code() is grpc.StatusCode.OK else outcome.details()] += 1

    with grpc.insecure_channel(target, options=options) as channel:
        stub = infer_pb2_grpc.InferenceStub(channel)
        threads = [threading.Thread(target=call, args=(stub,)) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield counts
        finally:
            over.set()
            for thread in threads:
                thread.join()


def test_a_backend_that_is_added_gets_calls_and_none_is_lost() -> None:
    """Though its clients have a connection to the other one, which ends for no other reason than its age."""
    port = free_port()
    settings = {"FACET_WORKERS": "1", "FACET_CONNECTION_AGE_SECONDS": "1"}
    with (
        name_server("127.0.0.1") as names,
        contextlib.ExitStack() as stack,
        backend(FACET_GRPC_ADDRESS=f"127.0.0.1:{port}", **settings) as (first, _),
        load(names.target(port)) as counts,
    ):
        wait_until(lambda: len(first.logged("request")) > CALLERS, "the first backend is called")
        second, _ = stack.enter_context(backend(FACET_GRPC_ADDRESS=f"127.0.0.2:{port}", **settings))
        names.addresses.append("127.0.0.2")
        wait_until(lambda: len(second.logged("request")) > ENOUGH, "the added backend is called")
    assert set(counts) == {"OK"}
