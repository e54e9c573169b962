"""Rules of the connection between supervisor and worker."""

import json
import socket
from collections.abc import Iterator
from typing import get_args

import pytest

from inference_server.supervision.control import (
    BootFailed,
    Control,
    Drain,
    FromSupervisor,
    FromWorker,
    Ready,
    RetirementRequested,
    Stop,
    SupervisorEnd,
    SuspectCleared,
    WorkerDied,
    WorkerEnd,
    control_pair,
)


@pytest.fixture
def ends() -> Iterator[tuple[SupervisorEnd, WorkerEnd]]:
    """The supervisor's end, and the worker's."""
    ours, theirs = control_pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_arrive_in_order_and_whole(ends: tuple[SupervisorEnd, WorkerEnd]) -> None:
    """Each datagram is one message, with its values."""
    ours, theirs = ends
    up: list[FromWorker] = [
        Ready("native", "avx2", "it is the fastest", degraded=True),
        BootFailed("no model", permanent=False),
        RetirementRequested(),
        SuspectCleared(bytes(range(32))),
    ]
    down: list[FromSupervisor] = [Drain(), Stop(), WorkerDied(3, 2**40, 32)]
    assert all(map(theirs.send, up))
    assert all(map(ours.send, down))
    assert [ours.receive() for _ in up] == up
    assert [theirs.receive() for _ in down] == down
    assert (ours.receive(), theirs.receive()) == (None, None)


def test_the_end_of_the_other_process_is_told_after_its_last_message(
    ends: tuple[SupervisorEnd, WorkerEnd],
) -> None:
    """What it said before it ended is not lost."""
    ours, theirs = ends
    ours.send(Stop())
    ours.close()
    assert theirs.receive() == Stop()
    with pytest.raises(EOFError):
        theirs.receive()
    assert not theirs.send(Ready())


def test_the_last_message_is_received_though_the_other_process_ended_with_something_unread(
    ends: tuple[SupervisorEnd, WorkerEnd],
) -> None:
    """The kernel reports that first, as an error."""
    ours, theirs = ends
    ours.send(Drain())
    theirs.send(BootFailed("no model"))
    theirs.close()
    assert ours.receive() == BootFailed("no model")
    with pytest.raises(EOFError):
        ours.receive()


def test_sending_never_waits_for_a_process_that_does_not_read(ends: tuple[SupervisorEnd, WorkerEnd]) -> None:
    """A hung worker must not hang its supervisor."""
    ours, _ = ends
    sent = 0
    while ours.send(Drain()):
        sent += 1
        assert sent < 100_000
    assert sent > 1


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ({"event": "ready"}, Ready()),
        ({"event": "ready", "engine": "onnx", "colour": "red"}, Ready("onnx")),
        ({"event": "failed", "reason": "no model"}, BootFailed("no model", permanent=True)),
        ({"event": "failed", "reason": "layout", "final": True}, BootFailed("layout", permanent=True)),
        ({"event": "cleared"}, None),
        ({"event": "cleared", "key": "no hexadecimal"}, None),
        ({"event": "cleared", "key": 7}, None),
        ({"event": "stop"}, None),  # none of a worker's
        ({"event": "Dance"}, None),
        ({}, None),
        ([], None),
        ("\N{BELL}", None),
    ],
)
def test_a_worker_of_another_release_is_understood_as_far_as_it_can_be(
    said: object, understood: FromWorker | None, caplog: pytest.LogCaptureFixture
) -> None:
    """What it leaves out has its default, what it says beyond is ignored; the rest is logged and dropped."""
    raw, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours: SupervisorEnd = Control(theirs, get_args(FromWorker))
    with raw:
        raw.send(json.dumps(said).encode())
        raw.send(b'{"event": "leaving"}')
        if understood is not None:
            assert ours.receive() == understood
        assert ours.receive() == RetirementRequested()  # the next one is not lost
    ours.close()
    assert caplog.messages == ["control message ignored"] * (understood is None)


def test_a_packet_that_is_no_json_is_dropped() -> None:
    """It ends neither side."""
    raw, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours: SupervisorEnd = Control(theirs, get_args(FromWorker))
    with raw:
        raw.send(b"\xff{")
        assert ours.receive() is None
    ours.close()
