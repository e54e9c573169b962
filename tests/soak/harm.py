"""Callers that do harm during the soak: they leave, send slowly, send no more, or send what kills."""

import contextlib
import itertools
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from inference_server.api.message_limits import MOST_UNFINISHED
from tests.soak.endpoints import GrpcCaller, HttpCaller
from tests.soak.scene import Scene
from tests.soak.slow import slow_answers, stalled
from tests.soak.stage import WORKERS, Stage
from tests.support.hooked_worker import RED
from tests.support.http2 import unfinished_messages
from tests.support.pictures import png
from tests.support.processes import PATIENCE, wait_until
from utils.channel import MIB
from utils.settings import parse_address

_SLOW_BODIES = 130
_numbers = itertools.count()


def leave(scene: Scene) -> None:
    """Callers go before they have sent everything, or before they have their answer."""
    request = _request(scene)
    for end in (len(request) // 2, len(request)) * 10:
        with contextlib.closing(_connect(scene.stage)) as connection:
            connection.sendall(request[:end])
            if end == len(request) and next(_numbers) % 2:  # not goodbye but a reset
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def slow(scene: Scene) -> None:
    """Callers that send little by little are served; those that stop amid a head are given up."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(contextlib.closing(_connect(scene.stage))) for _ in range(8)]
        for connection in connections[4:]:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\n")
        faces = slow_answers(connections[:4], _request(scene))
        assert all(scene.photo.accepts(found) for found in faces), faces
        assert stalled(connections[4:]) == [408] * 4


def slow_bodies(scene: Scene) -> None:
    """Callers send their bodies little by little, and most never end; all others are answered meanwhile."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as thread:
        connections = [
            stack.enter_context(contextlib.closing(_connect(scene.stage))) for _ in range(_SLOW_BODIES)
        ]
        others = thread.submit(scene.traffic.turn)
        faces = slow_answers(connections, _request(scene), until=others.done, ending=4)
        others.result()
        assert all(scene.photo.accepts(found) for found in faces), faces


def poison(scene: Scene) -> None:
    """A picture kills its worker, twice; then it is refused, whoever sends it."""
    pixels = np.full((24, 24, 3), 9, np.uint8)
    pixels[0, 0] = RED
    picture = png(pixels) + b"%d" % next(_numbers)
    deaths = _segfaults(scene.stage)
    stage, account = scene.stage, scene.stage.identities.visitors
    for connect in (partial(HttpCaller, stage.http), partial(GrpcCaller, stage.grpc)) * 2:
        with contextlib.closing(connect(account)) as caller:
            answer = caller.ask(picture)
        assert "WORKER_CRASHED" in answer.trouble, answer
    assert _segfaults(scene.stage) == deaths + 2


def leave_unfinished(scene: Scene) -> None:
    """Callers send most of a message, and never the rest."""
    stage = scene.stage
    with unfinished_messages(
        stage.grpc, connections=10, streams=30, size=10 * MIB, credentials=stage.identities.visitors
    ) as connections:
        scene.traffic.turn()
        most = WORKERS * MOST_UNFINISHED
        wait_until(lambda: sum(each.unfinished for each in connections) <= most, "the others are ended")
        scene.traffic.turn()


def _segfaults(stage: Stage) -> int:
    return len([line for line in stage.journal["worker crashed"] if "SEGV" in line["how"]])


def _connect(stage: Stage) -> socket.socket:
    where = parse_address(stage.http)
    return socket.create_connection((where.host, where.port), timeout=PATIENCE)


def _request(scene: Scene) -> bytes:
    """A visitor's, for the scene's picture."""
    picture = scene.photo.data + b"%d" % next(_numbers)
    fields = {"Host": "x", "Content-Type": "image/jpeg", "Content-Length": len(picture)}
    fields |= scene.stage.identities.visitors.headers
    lines = ["POST /predict HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + picture
