"""Rules of a batch as a connection makes it: when it is sent and taken, who leaves, and how much is kept."""

import contextlib
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest

from tests.support import gateway_process
from tests.support.batches import (
    END,
    KIND,
    NEXT,
    PATH,
    file,
    of_files,
    outcomes,
    send,
    sending,
)
from tests.support.fake_backend import Answer, Backend, echo, failing
from tests.support.gateway_process import Gateway, ended
from tests.support.processes import PATIENCE, wait_until
from tests.support.raw_http import assert_last_problem, chunk, connections, post_head, request_line
from utils.errors import BackendUnavailable, QueueFull

MIB = 1024**2
LIMIT = 4 * MIB
MOST_BYTES = 256 * MIB
BATCHES = 4
"""That a process answers at once."""
SETTINGS = {
    "FACET_MAX_IMAGE_BYTES": str(LIMIT),
    "FACET_BODY_PAUSE_SECONDS": "2",
    "FACET_TIMEOUT_SECONDS": "60",
}


@contextlib.contextmanager
def answering(backend: Backend, answer: Answer) -> Iterator[None]:
    """Have the backend answer so for a while."""
    backend.answer = answer
    try:
        yield
    finally:
        backend.answer = echo


def much(message: Any, context: Any) -> Any:  # noqa: ANN401
    """An answer of 300 KB."""
    answer: Any = echo(message, context)
    answer._meta_data.values["much"] = "x" * 300_000
    return answer


# --- what is sent and taken when --------------------------------------------------------------------


def test_a_picture_is_answered_while_others_are_still_on_their_way(gateway: Gateway) -> None:
    """As soon as its end is known; the answer ends with the batch, and so does the connection."""
    with sending(gateway, file(b"a"), NEXT) as begun:
        assert (begun.line()["index"], begun.response.headers["Connection"]) == (0, "close")
        begun.send(b"bc", b"\r\n", NEXT)
        line = begun.line()
        assert (line["index"], line["name"], line["image"]["width"]) == (1, "next.jpg", 2)
        begun.send(b"\r\n", END)
        begun.end()
        empty, last = begun.rest()
        assert (empty["index"], empty["problem"]["reason"]) == (2, "IMAGE_EMPTY")
        assert (last["done"], last["ok"], last["failed"]) == (True, 2, 1)
        assert ended(begun.connection)


def test_who_sends_everything_before_reading_anything_gets_all_answers(
    gateway: Gateway, backend: Backend
) -> None:
    """However large they are: those that are not taken are kept, and not in memory."""
    with answering(backend, much):
        answered = send(gateway, of_files([bytes(400_000)] * 60))
    assert len(answered.text) > 16 * MIB
    assert outcomes(answered.items) == [400_000] * 60


def test_a_batch_is_read_no_faster_than_it_is_answered(gateway: Gateway, holding: Backend) -> None:
    """Then its client must wait; nothing is lost."""
    body = of_files([bytes(MIB)] * 100)
    with connections(gateway, 1, post_head(len(body), kind=KIND, path=PATH)) as [connection]:
        connection.settimeout(1)
        view = memoryview(body)
        with contextlib.suppress(TimeoutError):
            while view:
                view = view[connection.send(view[:MIB]) :]
        assert len(body) - len(view) < 40 * MIB
        holding.held.set()
        connection.settimeout(PATIENCE)
        connection.sendall(view)
        response = gateway_process.read_reply(connection)
        assert response.body.count(b"\n") == 101


@pytest.mark.security(
    endpoint="gateway",
    attack="A batch whose answers nobody takes",
    outcome=(
        "The connection is cut off, the log says `answer not taken`, and what is not answered is given up"
    ),
)
def test_who_takes_nothing_once_it_has_sent_all_is_cut_off(gateway: Gateway, backend: Backend) -> None:
    """After ten seconds; what is not answered then is given up."""
    with answering(backend, much), contextlib.closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(gateway.address)
        body = of_files([b"x"] * 40)
        connection.sendall(post_head(len(body), "X-Request-ID: deaf", kind=KIND, path=PATH) + body)
        assert gateway.process.wait_for("answer not taken")["unsent_bytes"] > 0
        line = request_line(gateway, "deaf")
    assert (line["status"], line["reason"]) == (499, "CANCELLED")


# --- who leaves -------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["amid a picture", "behind the last one"])
def test_who_leaves_cancels_what_waits_and_what_is_in_work(
    gateway: Gateway, holding: Backend, when: str
) -> None:
    """The log tells it by one line; the backend is asked for no more."""
    parts = [file(b"x")] * 30 + ([NEXT, b"y"] if when == "amid a picture" else [END])
    name = when.replace(" ", "-")
    with sending(gateway, *parts, X_Request_ID=name) as begun:
        if when != "amid a picture":
            begun.end()
        for _ in range(2):
            assert holding.began.acquire(timeout=PATIENCE)
    assert holding.cancelled.wait(PATIENCE)
    line = request_line(gateway, name)
    assert (line["status"], line["reason"], line["items"]) == (499, "CANCELLED", 0)
    assert not holding.began.acquire(blocking=False)


# --- what is wrong with a body ----------------------------------------------------------------------


def test_a_body_over_its_limit_is_refused_unread(gateway: Gateway) -> None:
    """Where its length is told."""
    head = post_head(MOST_BYTES + 1, "Expect: 100-continue", kind=KIND, path=PATH)
    with connections(gateway, 1, head) as [connection]:
        reply = assert_last_problem(connection, 413, "BODY_TOO_LARGE")
        assert "FACET_MAX_BATCH_BYTES" in reply.json["detail"]


WRONG = {
    "chunks that cannot be read": (b"no chunk\r\n", 400, "MALFORMED_REQUEST"),
    "a body that stops": (b"", 408, "BODY_TOO_SLOW"),
    "a body without end": (chunk(b""), 400, "MALFORMED_REQUEST"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_body_that_breaks_is_told_by_its_status_until_a_picture_is_answered(
    gateway: Gateway, holding: Backend, name: str
) -> None:
    """What was in work then is given up."""
    rest, status, reason = WRONG[name]
    with sending(gateway, file(b"a"), NEXT, b"b") as begun:
        assert holding.began.acquire(timeout=PATIENCE)
        begun.connection.sendall(rest)
        assert begun.response.status == status
        assert json.loads(begun.response.read())["reason"] == reason
    assert holding.cancelled.wait(PATIENCE)


@pytest.mark.parametrize("name", WRONG)
def test_a_body_that_breaks_later_is_told_by_the_last_line(gateway: Gateway, name: str) -> None:
    """Behind all pictures that came before; the log tells it, too."""
    rest, status, reason = WRONG[name]
    with sending(gateway, file(b"a"), NEXT, b"b", X_Request_ID=name.replace(" ", "-")) as begun:
        assert begun.line()["index"] == 0
        begun.connection.sendall(rest)
        [last] = begun.rest()
    assert (last["done"], last["ok"], last["failed"]) == (False, 1, 0)
    assert (last["problem"]["status"], last["problem"]["reason"]) == (status, reason)
    line = request_line(gateway, name.replace(" ", "-"))
    assert (line["status"], line["reason"], line["items"]) == (200, reason, 1)


@pytest.mark.security(
    endpoint="gateway",
    attack="A batch over its limit of 1 MiB, whose client sends 64 MiB more before it reads",
    outcome="The last line of the answer is `BODY_TOO_LARGE`, and the client gets it",
)
def test_a_body_that_turns_out_too_large_is_not_read_on(backend: Backend) -> None:
    """Its client gets to the answer, though it sends everything first."""
    with gateway_process.gateway(backend.target, FACET_MAX_BATCH_BYTES=str(MIB)) as running:
        with sending(running, file(b"a"), NEXT) as begun:
            assert begun.line()["index"] == 0
            for _ in range(64):
                begun.send(bytes(MIB))
            [last] = begun.rest()
        assert (last["done"], last["problem"]["reason"]) == (False, "BODY_TOO_LARGE")


# --- the backend ------------------------------------------------------------------------------------


def test_a_full_queue_is_waited_out(gateway: Gateway, backend: Backend) -> None:
    """By each picture for itself, within its time."""
    with answering(backend, failing(QueueFull("full", retry_after=0.02), times=30)):
        assert outcomes(send(gateway, of_files([b"x"] * 20)).items) == [1] * 20
    with answering(backend, failing(QueueFull("full", retry_after=5))):
        items = send(gateway, of_files([b"x"] * 3), X_Request_Timeout="1").items
    assert outcomes(items) == ["QUEUE_FULL"] * 3
    assert [item["problem"]["retry_after"] for item in items] == [5] * 3


def test_a_batch_does_not_fill_the_queue_of_the_backend(gateway: Gateway, backend: Backend) -> None:
    """Where its pictures wait there for long, few are sent at once, so that other callers find room."""
    lock = threading.Lock()
    there = most = 0

    def slow(message: Any, context: Any) -> Any:  # noqa: ANN401
        nonlocal there, most
        with lock:
            there += 1
            most = max(most, there)
        time.sleep(0.02)  # for others that come meanwhile
        with lock:
            there -= 1
        answer: Any = echo(message, context)
        answer.timings.queue_ms, answer.timings.total_ms = 5000, 5100
        return answer

    with answering(backend, slow):
        assert outcomes(send(gateway, of_files([b"x"] * 30)).items) == [1] * 30
    assert most <= 2


def test_each_picture_that_fails_has_a_line_in_the_log(gateway: Gateway, backend: Backend) -> None:
    """Under the id of the batch, whose own line has the numbers."""
    with answering(backend, failing(BackendUnavailable("away"))):
        items = send(gateway, of_files([b"x", b"yy"]), X_Request_ID="failing", X_Request_Timeout="5").items
    assert outcomes(items) == ["BACKEND_UNAVAILABLE"] * 2
    line = request_line(gateway, "failing")
    assert (line["items"], line["failed"], line["faces"], line["bytes"]) == (2, 2, 0, 3)
    lines = [one for one in gateway.process.logged("batch item failed") if one["request_id"] == "failing"]
    assert sorted((one["item"], one["status"], one["reason"]) for one in lines) == [
        (0, 503, "BACKEND_UNAVAILABLE"),
        (1, 503, "BACKEND_UNAVAILABLE"),
    ]


# --- how many, and how much -------------------------------------------------------------------------


@pytest.mark.security(
    endpoint="gateway",
    attack="A fifth batch, where a process answers four at once",
    outcome="429 before its body comes; health is answered, and so are the four",
)
def test_a_process_refuses_more_batches_than_it_answers_at_once(gateway: Gateway, holding: Backend) -> None:
    """At once, while it answers what else there is."""
    with contextlib.ExitStack() as stack:
        served = [stack.enter_context(sending(gateway, file(b"x"), END)) for _ in range(BATCHES)]
        for begun in served:
            begun.end()
            assert holding.began.acquire(timeout=PATIENCE)
        with connections(gateway, 1, post_head(None, kind=KIND, path=PATH)) as [refused]:
            reply = assert_last_problem(refused, 429, "GATEWAY_BUSY")
            assert reply.headers["Retry-After"] == "1"
        assert gateway.get("/healthz").status == 200
        holding.held.set()
        for begun in served:
            assert [line.get("done", False) for line in begun.rest()] == [False, True]
    assert len(send(gateway, of_files([b"x"])).items) == 1


def test_a_batch_needs_a_permit_as_any_request_does(holding: Backend) -> None:
    """One, however many pictures it has."""
    with (
        gateway_process.gateway(holding.target, FACET_HTTP_THREADS="9") as running,
        sending(running, *[file(b"x")] * 9, END) as begun,
    ):
        begun.end()
        assert holding.began.acquire(timeout=PATIENCE)
        assert running.predict().json["reason"] == "GATEWAY_BUSY"
        assert send(running, of_files([b"x"])).problem["reason"] == "GATEWAY_BUSY"
        holding.held.set()
        assert len(begun.rest()) == 10


def memory(pid: int, field: str) -> int:
    """Bytes of a process, by a field of its status."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(rf"{field}:\s+(\d+) kB", text)[0]) * 1024


@pytest.mark.security(
    endpoint="gateway",
    attack="A batch of 200 MiB of pictures",
    outcome="The process grows by less than 56 MiB: what is read ahead, and a few pictures",
)
def test_the_memory_of_a_batch_is_bounded_whatever_its_size(gateway: Gateway) -> None:
    """By what is read ahead, and by few pictures at their limit."""
    [worker] = gateway.workers()
    send(gateway, of_files([bytes(LIMIT)] * 2))
    idle = memory(worker, "VmRSS")
    Path(f"/proc/{worker}/clear_refs").write_text("5")  # from now on VmHWM counts anew
    with sending(gateway) as begun:
        for _ in range(50):
            begun.send(file(bytes(LIMIT)))
        begun.send(END)
        begun.end()
        assert len(begun.rest()) == 51
    assert memory(worker, "VmHWM") - idle < 32 * MIB + 6 * LIMIT


# --- a gateway that is told to stop -----------------------------------------------------------------


@pytest.fixture
def stopping(backend: Backend) -> Iterator[Gateway]:
    """A gateway of its own that is to be stopped, and gives what runs two seconds."""
    with gateway_process.gateway(backend.target, FACET_GRACE_SECONDS="2") as running:
        yield running


def test_a_gateway_that_stops_finishes_a_batch(stopping: Gateway) -> None:
    """Whatever of it is still to come, if that comes in time."""
    with sending(stopping, file(b"a"), NEXT) as begun:
        assert begun.line()["index"] == 0
        stopping.process.send(signal.SIGTERM)
        wait_until(lambda: _refuses(stopping), "it to listen no longer")
        begun.send(b"b", b"\r\n", END)
        begun.end()
        assert [line.get("index", "last") for line in begun.rest()] == [1, "last"]
    assert stopping.process.wait() == 0


def _refuses(gateway: Gateway) -> bool:
    try:
        gateway.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_batch_that_a_gateway_had_no_time_for_looks_cut_off(stopping: Gateway) -> None:
    """Neither the last line comes nor the end of the answer."""
    with sending(stopping, file(b"a"), NEXT) as begun:
        assert begun.line()["index"] == 0
        stopping.process.send(signal.SIGTERM)
        with pytest.raises((ConnectionError, IncompleteRead)):
            begun.response.read()
    assert stopping.process.wait() == 0
