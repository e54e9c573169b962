"""Machines behind a balancer: a backend and a gateway each, which are stopped, killed and started again."""

import contextlib
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import grpc

from protos import infer_pb2_grpc
from tests.soak.endpoints import Answer, HttpCaller
from tests.soak.identities import Account
from tests.soak.photos import of_domain
from tests.support import facet
from tests.support.facet import free_port
from tests.support.processes import PATIENCE, Process
from utils import codec
from utils.domain import DetectRequest

DRAIN_SECONDS = 2
"""Above the second between two checks of the balancers that make any."""


class Server:
    """A process at an address that it keeps when it is started again.

    Attributes:
        address: `host:port`.
        process: The one that runs, or ran last.
    """

    def __init__(self, start: Any, stack: ExitStack, name: str, **settings: str) -> None:  # noqa: ANN401
        self.address = f"127.0.0.1:{free_port()}"
        self._start = start
        self._stack = stack
        self._settings = {name: self.address, "FACET_DRAIN_SECONDS": str(DRAIN_SECONDS), **settings}
        self.process: Process
        self.start()

    def start(self) -> None:
        """Start it, and wait until it says that it is ready."""
        self.process, _ = self._stack.enter_context(self._start(**self._settings))

    def restart(self) -> None:
        """Stop it as an init system does, and start it again."""
        self.process.send(signal.SIGTERM)
        assert self.process.wait() == 0, self.process.log()
        self.start()

    def kill(self) -> None:
        """End it with all its processes at once."""
        self.process.send_group(signal.SIGKILL)
        self.process.wait()

    @property
    def served(self) -> int:
        """Requests that this process has answered."""
        return sum('"message": "request"' in line for line in list(self.process.lines))


class Machine:
    """A backend of one worker and a gateway of one process, which calls the backends through the balancer."""

    def __init__(self, stack: ExitStack, balancer: str) -> None:
        self.backend = Server(facet.inference, stack, "FACET_GRPC_ADDRESS", FACET_WORKERS="1")
        settings = {"FACET_BACKEND": balancer, "FACET_HTTP_WORKERS": "1"}
        self.gateway = Server(facet.gateway, stack, "FACET_HTTP_ADDRESS", **settings)


@contextlib.contextmanager
def two_machines(balancer: str) -> Iterator[tuple[Machine, Machine]]:
    """Two of them, whose gateways call this address."""
    with ExitStack() as stack:
        yield Machine(stack, balancer), Machine(stack, balancer)


class HttpOnce(HttpCaller):
    """A client over HTTP that never tries again, and shows no key."""

    repeats = False

    def __init__(self, address: str) -> None:
        super().__init__(address, Account())


class HttpOnceEach(HttpOnce):
    """One that has a connection for each request, as curl has."""

    def ask(self, picture: bytes) -> Answer:
        answer = super().ask(picture)
        self.close()
        return answer


class GrpcOnce:
    """A client over gRPC that never tries again, and is none of ours."""

    options: tuple[tuple[str, int], ...] = (("grpc.enable_retries", 0),)

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address, options=self.options)
        self._stub: Any = infer_pb2_grpc.InferenceStub(self._channel)

    def ask(self, picture: bytes) -> Answer:
        """Have the faces of one picture found; never raises."""
        try:
            reply = self._stub.Predict(codec.encode_request(DetectRequest(picture)), timeout=PATIENCE)
        except grpc.RpcError as error:
            return Answer(trouble=f"{error.code().name}: {error.details()}")
        return Answer(of_domain(codec.decode_detection(reply).faces))

    def close(self) -> None:
        """Close its connection."""
        self._channel.close()


class GrpcPlain(GrpcOnce):
    """One with gRPC's defaults, which sends again only what its server says that it has not looked at."""

    options = ()
