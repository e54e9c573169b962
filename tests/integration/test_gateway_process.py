"""Rules of the gateway as a process: start, stop, settings, and a backend that comes and goes."""

import contextlib
import gzip
import os
import resource
import signal
from datetime import datetime
from pathlib import Path

import pytest

from tests.support import gateway_process, processes
from tests.support.endpoints import HTTP_ENDPOINTS
from tests.support.fake_backend import Backend, echo, failing, fake_backend
from tests.support.gateway_process import Gateway, held_request, post, read_reply
from tests.support.raw_http import HEALTH, assert_safe_fields, post_head
from utils import errors
from utils.errors import FacetError


def test_a_picture_is_passed_on_and_answered_under_its_id(gateway: Gateway, backend: Backend) -> None:
    """With its request id, and with one line in the log."""
    reply = gateway.predict(b"x" * 1000, X_Request_ID="through-1")
    assert reply.status == 200
    assert reply.json["image"]["width"] == 1000
    assert reply.headers["X-Request-ID"] == "through-1"
    assert backend.calls[-1].metadata["x-request-id"] == "through-1"
    line = gateway.process.wait_for("request", request_id="through-1")
    assert (line["status"], line["bytes"], line["faces"]) == (200, 1000, 0)


def test_a_gzipped_picture_without_a_content_type_is_passed_on(gateway: Gateway) -> None:
    """What is in it is what the backend gets; the log says how long the body was that came."""
    body = gzip.compress(b"x" * 1000)
    with contextlib.closing(gateway.open()) as connection:
        connection.request("POST", "/predict", body, {"Content-Encoding": "gzip", "X-Request-ID": "packed-1"})
        reply = gateway_process.read(connection.getresponse())
    assert (reply.status, reply.json["image"]["width"]) == (200, 1000)
    line = gateway.process.wait_for("request", request_id="packed-1")
    assert (line["body_bytes"], line["bytes"]) == (len(body), 1000)


@pytest.mark.parametrize(
    "error",
    [
        errors.UnsupportedImageFormat("It is text.", field="image"),
        errors.BrokenImage("It ends early.", field="image"),
        errors.TooManyPixels("There are more.", field="image"),
        errors.OptionOutOfRange("It is 5.", field="options.min_face_size"),
        errors.QueueFull("Full.", retry_after=2.5),
        errors.DeadlineExceeded("Late."),
        errors.InternalError(),
    ],
    ids=lambda error: error.reason,
)
def test_an_error_of_the_backend_reaches_the_caller(
    gateway: Gateway, backend: Backend, error: FacetError
) -> None:
    """With reason, field and delay."""
    backend.answer = failing(error)
    try:
        reply = gateway.predict()
    finally:
        backend.answer = echo
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert (reply.status, reply.json["reason"], reply.json.get("field"), reply.json["detail"]) == (
        error.http_status,
        error.reason,
        error.field,
        error.detail,
    )
    assert reply.headers.get("Retry-After") == ("3" if error.retry_after else None)


def test_a_request_ends_at_its_deadline(gateway: Gateway, holding: Backend) -> None:
    """And the backend's call with it."""
    reply = gateway.predict(X_Request_Timeout="1")
    assert (reply.status, reply.json["reason"]) == (504, "DEADLINE_EXCEEDED")
    assert holding.cancelled.wait(processes.PATIENCE)


def test_no_process_of_the_gateway_loads_what_decodes_or_detects(gateway: Gateway) -> None:
    """Pictures pass through it undecoded, in every form; and its master, which forks, loads no gRPC."""
    for endpoint in HTTP_ENDPOINTS.values():
        assert endpoint(f"127.0.0.1:{gateway.address[1]}", b"picture", {}).http_status == 200
    for pid in (gateway.process.pid, *gateway.workers()):
        maps = Path(f"/proc/{pid}/maps").read_text()
        for name in ("numpy", "PIL", "onnx", "facet_native", "tensorflow"):
            assert name not in maps
    assert "grpc" not in Path(f"/proc/{gateway.process.pid}/maps").read_text()


def test_a_gateway_starts_without_a_backend_and_recovers_by_itself() -> None:
    """Until then the answer is 503 with a Retry-After, after it goes again, too."""
    with fake_backend() as first:
        port = first.port
    with gateway_process.gateway(f"127.0.0.1:{port}") as running:
        assert gateway_process.wait_for_status(running, "/readyz", 503).headers["Retry-After"] == "1"
        reply = running.predict()
        assert (reply.status, reply.json["reason"]) == (503, "BACKEND_UNAVAILABLE")
        assert "`python -m inference_server` starts one" in reply.json["detail"]
        assert reply.headers["Retry-After"] == "1"
        for _ in range(2):
            with fake_backend(port=port):
                gateway_process.wait_for_status(running, "/readyz", 200)
                assert running.predict().status == 200
            gateway_process.wait_for_status(running, "/readyz", 503)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("whole_group", [False, True])
def test_a_signal_ends_it_with_status_0_and_no_child(signum: int, whole_group: bool) -> None:
    """Whether it comes to the master alone or, as from a terminal, to everyone."""
    with (
        fake_backend() as serving,
        gateway_process.gateway(serving.target, FACET_HTTP_WORKERS="2") as running,
    ):
        processes.wait_until(lambda: len(running.workers()) == 2, "two workers")
        assert running.predict().status == 200
        family = running.workers()
        (running.process.send_group if whole_group else running.process.send)(signum)
        assert running.process.wait() == 0, running.process.log()
        assert not [pid for pid in family if processes.alive(pid)]
        assert "Traceback" not in running.process.log()


def test_sigterm_lets_a_running_request_finish() -> None:
    """Its answer says that the connection ends."""
    with fake_backend() as serving, gateway_process.gateway(serving.target) as running:
        with held_request(running, serving) as connection:
            running.process.send(signal.SIGTERM)
            running.process.wait_for("Handling signal: term")
            serving.held.set()
            reply = gateway_process.read(connection.getresponse())
        assert reply.status == 200
        assert running.process.wait() == 0


def test_sigint_does_not_wait_for_a_running_request() -> None:
    """Whoever presses Ctrl-C wants it to end."""
    with (
        fake_backend() as serving,
        gateway_process.gateway(serving.target) as running,
        held_request(running, serving),
    ):
        running.process.send(signal.SIGINT)
        assert running.process.wait(10) == 0


def test_a_killed_worker_is_replaced(gateway: Gateway) -> None:
    """And requests go on."""
    [worker] = gateway.workers()
    os.kill(worker, signal.SIGKILL)
    processes.wait_until(lambda: gateway.workers() not in ([], [worker]), "a new worker")
    assert gateway.predict().status == 200


def test_a_reload_keeps_answering_on_the_same_port(gateway: Gateway) -> None:
    """SIGHUP replaces the workers."""
    before = gateway.workers()
    gateway.process.send(signal.SIGHUP)
    processes.wait_until(lambda: not set(before) & set(gateway.workers()), "the old workers to go")
    assert gateway.predict().status == 200


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FACET_HTTP_THREADS", "8"),
        ("FACET_HTTP_ADDRESS", "8000"),
        ("FACET_TIMEOUT_SECONDS", "soon"),
        ("FACET_GRACE_SECONDS", "-1"),
    ],
)
def test_an_invalid_setting_stops_the_start_with_one_line(variable: str, value: str) -> None:
    """That names it; there is no traceback."""
    with processes.running(gateway_process.COMMAND, **{variable: value}) as process:
        assert process.wait() != 0
        [line] = process.lines
        assert f"{variable} is {value!r}; accepted:" in line


def test_a_busy_port_stops_the_start() -> None:
    """With a status that says so."""
    with gateway_process.gateway("127.0.0.1:1") as running:
        address = f"127.0.0.1:{running.address[1]}"
        with processes.running(gateway_process.COMMAND, FACET_HTTP_ADDRESS=address) as second:
            assert second.wait() != 0
            assert "Traceback" not in second.log()
        assert running.get("/healthz").status == 200


def test_idle_connections_shut_nobody_out() -> None:
    """The oldest of them go when there is no room for more; who waits for its answer stays."""
    few = ["sh", "-c", 'ulimit -n 160; exec "$@"', "sh", *gateway_process.COMMAND]
    settings = {"FACET_HTTP_ADDRESS": "127.0.0.1:0", "FACET_HTTP_WORKERS": "1"}
    with (
        fake_backend() as serving,
        processes.running(few, FACET_BACKEND=serving.target, **settings) as process,
        contextlib.ExitStack() as stack,
    ):
        running = Gateway(process, process.wait_for("ready")["http_address"])
        held = stack.enter_context(held_request(running, serving))
        for _ in range(200):
            stack.enter_context(contextlib.closing(running.connect()))
        assert running.get("/healthz").status == 200
        serving.held.set()
        assert gateway_process.read(held.getresponse()).status == 200


@pytest.mark.security(
    endpoint="gateway",
    attack="Connections to a process that has no file descriptor left",
    outcome=(
        "A line in the log at most once a second; who waits is served by the same process when there is room"
    ),
)
def test_out_of_descriptors_a_gateway_says_so_now_and_then_and_goes_on() -> None:
    """Who came meanwhile is served as soon as there is room."""
    with gateway_process.gateway("127.0.0.1:1") as running:
        [worker] = running.workers()
        enough = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, enough[1]))
        with contextlib.closing(running.connect()) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            lines = [
                running.process.wait_for("connection not accepted", reason="Too many open files")
                for _ in range(2)
            ]
            first, second = (datetime.fromisoformat(line["time"]) for line in lines)
            assert (second - first).total_seconds() > 0.9
            resource.prlimit(worker, resource.RLIMIT_NOFILE, enough)
            assert gateway_process.read_reply(connection).status == 200
        assert running.workers() == [worker]


def test_an_unknown_setting_is_warned_of_once() -> None:
    """Not by every worker."""
    environ = {"FACET_HTTP_WORKERS": "2", "FACET_HTTP_THREDS": "9"}
    with gateway_process.gateway("127.0.0.1:1", **environ) as running:
        processes.wait_until(lambda: len(running.workers()) == 2, "two workers")
        warnings = [line for line in running.process.lines if "FACET_HTTP_THREDS" in line]
        assert len(warnings) == 1
        assert "did you mean FACET_HTTP_THREADS?" in warnings[0]


@pytest.mark.security(
    endpoint="gateway",
    attack=(
        "Paths with doubled slashes, also behind `http://`, to pass a proxy's rule for the path that is meant"
    ),
    outcome="404; nothing is redirected or put right",
)
@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("//predict", 404),
        ("http://h//predict", 404),
        ("http://h", 405),
        ("http://h?a=b", 405),
        ("/predict", 200),
    ],
)
def test_a_target_means_what_it_says(gateway: Gateway, target: str, status: int) -> None:
    """No slash is passed over, and nothing is redirected."""
    fields = "Host: evil.example\r\nContent-Type: image/jpeg\r\nContent-Length: 1"
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(f"POST {target} HTTP/1.1\r\n{fields}\r\n\r\nx".encode())
        reply = gateway_process.read_reply(connection)
    assert reply.status == status
    assert "Location" not in reply.headers


@pytest.mark.security(
    endpoint="gateway",
    attack=(
        "Answers that a cache keeps, that a browser takes for another type, or that tell which server this is"
    ),
    outcome=(
        "`no-store` or `no-cache`, `nosniff`, and no `Server` field, in nine kinds of answers and errors"
    ),
)
@pytest.mark.parametrize(
    ("request_bytes", "kept"),
    [
        (post_head(3) + b"abc", "no-store"),
        (post_head(3, kind="text/plain") + b"abc", "no-store"),
        (post_head(1 << 30), "no-store"),
        (HEALTH, "no-store"),
        (b"OPTIONS /predict HTTP/1.1\r\nHost: x\r\n\r\n", "no-store"),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", "no-store"),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", "no-store"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n", "no-cache"),
        (b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n", "no-cache"),
    ],
    ids=["faces", "refused", "unread", "health", "options", "no route", "no http", "page", "document"],
)
def test_no_answer_is_kept_taken_for_another_type_or_names_its_server(
    gateway: Gateway, request_bytes: bytes, kept: str
) -> None:
    """Whoever gives it; what is the same for all may be kept, and is asked for again."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(request_bytes)
        assert_safe_fields(read_reply(connection), kept)


def test_requests_on_one_connection_reuse_it_after_errors(gateway: Gateway, holding: Backend) -> None:
    """A picture that was refused once it had come costs no new connection."""
    with contextlib.closing(gateway.open()) as connection:
        assert post(connection, X_Request_Timeout="0.2").status == 504
        connection.auto_open = 0
        holding.answer = echo
        assert post(connection).status == 200
        assert post(connection, b"").status == 400
        connection.request("GET", "/nowhere")
        assert gateway_process.read(connection.getresponse()).status == 404
        assert post(connection).status == 200
