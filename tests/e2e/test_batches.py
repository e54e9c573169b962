"""A batch from its client to the detector and back: faces, deaths of workers, a proxy."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import gateway_process
from tests.support.balancers import NGINX, Balancer, Machines, balancer
from tests.support.batches import END, NEXT, PATH, batch, file, of_files, option, outcomes, send, sending
from tests.support.facet import ROOMY, free_port
from tests.support.gateway_process import Gateway
from tests.support.hooked_worker import BLUE
from tests.support.pictures import ASTRONAUT, coloured, encoded, group_photo
from tests.support.processes import Process, running, wait_until

ITEMS = 100


@pytest.fixture(scope="module")
def backend() -> Iterator[Process]:
    """A backend of two hooked workers, ready."""
    command = [sys.executable, "-m", "tests.support.hooked_backend"]
    settings = {"FACET_GRPC_ADDRESS": "127.0.0.1:0", "TEST_LONGEST_DELAY": "0.1", **ROOMY}
    with running(command, **settings) as process:
        process.wait_for("ready")
        yield process


def address_of(backend: Process) -> str:
    """Where it is called."""
    address: str = backend.logged("ready")[0]["grpc_address"]
    return address


@pytest.fixture(scope="module")
def gateway(backend: Process) -> Iterator[Gateway]:
    """A gateway before it."""
    with gateway_process.gateway(address_of(backend), **ROOMY) as serving:
        yield serving


def test_a_batch_finds_the_faces_that_each_picture_has_alone(gateway: Gateway) -> None:
    """With the same options, and the same reasons where there are none."""
    photo = ASTRONAUT.read_bytes()
    crowd = encoded(group_photo(640, 480), "JPEG", quality=90)
    pictures = [photo, b"no picture", crowd, photo[: len(photo) // 2], encoded(group_photo(320, 240), "PNG")]
    alone = [gateway.predict(picture).json for picture in pictures]
    items = send(gateway, of_files(pictures)).items
    assert [item["status"] for item in items] == [200, 415, 200, 422, 200]
    for item, one in zip(items, alone, strict=True):
        for member in ("results", "image"):
            assert item.get(member) == one.get(member)
        assert item.get("problem", {}).get("reason") == one.get("reason")
    [first, *_] = send(gateway, batch(option("max_faces", "1"), file(crowd), file(crowd))).items
    assert first["results"] == alone[2]["results"][:1]


def test_every_picture_is_answered_though_a_worker_is_killed_amid_the_batch(gateway: Gateway) -> None:
    """By the other one: those that the dead one had, and those that it had received for both."""
    pictures = map(file, (coloured(BLUE, number) for number in range(ITEMS)))
    with sending(gateway, batch(option("min_face_size", "20"), *pictures)) as begun:
        begun.end()
        first = begun.line()
        os.kill(int(first["results"][0]["landmarks"]["nose"]["x"]), signal.SIGKILL)
        *others, last = begun.rest()
    assert (last["done"], last["ok"], last["failed"]) == (True, ITEMS, 0)
    assert sorted(line["index"] for line in [first, *others]) == [*range(ITEMS)]


@contextlib.contextmanager
def two_gateways(backend: Process, folder: Path) -> Iterator[tuple[list[Gateway], Balancer]]:
    """Two gateways, and nginx before them."""
    ports = [free_port(), free_port()]
    with contextlib.ExitStack() as stack:
        both = [
            stack.enter_context(
                gateway_process.gateway(
                    address_of(backend), **{**ROOMY, "FACET_HTTP_ADDRESS": f"127.0.0.1:{port}"}
                )
            )
            for port in ports
        ]
        machines = Machines([each.where for each in both], [address_of(backend)])
        yield both, stack.enter_context(balancer(NGINX, folder, machines))


def test_a_batch_passes_nginx_as_it_comes_and_goes(backend: Process, tmp_path: Path) -> None:
    """Picture by picture, and once; the gateway says what is too much, and one that is gone is no loss."""
    photo = ASTRONAUT.read_bytes()
    with two_gateways(backend, tmp_path) as (both, nginx):
        proxy = Gateway(both[0].process, nginx.http)
        with sending(proxy, file(photo), NEXT) as begun:
            line = begun.line()
            assert (line["index"], len(line["results"])) == (0, 1)
            begun.send(photo, b"\r\n", END)
            begun.end()
            assert [line.get("index", "last") for line in begun.rest()] == [1, "last"]
        wait_until(lambda: PATH in nginx.passed_on(), "nginx has logged it")
        assert nginx.passed_on().count(PATH) == 1
        with contextlib.closing(proxy.open()) as connection:
            connection.putrequest("POST", PATH)
            connection.putheader("Content-Type", "multipart/form-data; boundary=B")
            connection.putheader("Content-Length", str(256 * 1024**2 + 1))
            connection.endheaders()
            assert gateway_process.read(connection.getresponse()).json["reason"] == "BODY_TOO_LARGE"
        both[0].process.send(signal.SIGTERM)
        assert both[0].process.wait() == 0
        for _ in range(4):
            assert outcomes(send(proxy, of_files([photo])).items) == [512]
