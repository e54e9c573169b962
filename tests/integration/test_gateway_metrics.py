"""Rules of the gateway's metrics: real processes, which are killed and replaced, and what is told of them."""

import contextlib
import http.client
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support import gateway_process, processes
from tests.support.fake_backend import Backend, failing, fake_backend
from tests.support.gateway_process import Gateway, Reply, held_request, read
from tests.support.keys import KeyFile
from tests.support.metrics import Scrape, fallen, scrape, wait_for_value
from tests.support.processes import PATIENCE, wait_until
from utils.api_keys import METRICS, PREDICT
from utils.errors import QueueFull

WORKERS = 2
CALLERS = 4
SETTINGS = {"FACET_HTTP_WORKERS": str(WORKERS), "FACET_HTTP_METRICS_ADDRESS": "127.0.0.1:0"}


def place(running: Gateway) -> str:
    """Where a gateway tells its metrics."""
    return running.ready["http_metrics_address"]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Gateway, Backend]]:
    """A gateway of two processes that tells its metrics, and its backend."""
    with fake_backend() as backend, gateway_process.gateway(backend.target, **SETTINGS) as running:
        yield running, backend


def ask(address: str, path: str = "/metrics", **headers: str) -> Reply:
    """A GET with these header fields."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(connection):
        connection.request("GET", path, headers=named)
        return read(connection.getresponse())


def test_each_request_is_counted_by_its_route_and_what_became_of_it(served: tuple[Gateway, Backend]) -> None:
    """Once for its line in the log: also one whose head cannot be read, and one that no application sees."""
    running, backend = served
    before, lines = scrape(place(running)), len(running.process.logged("request"))
    answer = backend.answer
    for _ in range(3):
        assert running.predict(b"picture").status == 200
    backend.answer = failing(QueueFull("Full."))
    assert running.predict(b"picture").status == 429
    backend.answer = answer
    running.get("/models/iris")
    running.get("/nothing/here")
    with contextlib.closing(running.connect()) as connection:
        connection.sendall(b"no HTTP\r\n\r\n")
        assert connection.recv(100)
    with contextlib.closing(running.open()) as refused:  # before the application is asked
        headers = {"Content-Length": str(10**12), "Content-Type": "application/json"}
        refused.request("POST", "/models/iris/predict", headers=headers)
        assert refused.getresponse().status == 413

    def more(now: Scrape, **labels: str) -> float:
        return now.value(name, **labels) - before.value(name, **labels)

    name = "facet_http_requests_total"
    now = wait_for_value(place(running), before.value(name) + 8, name)
    assert more(now, route="/predict", status="200", reason="") == 3
    assert more(now, route="/predict", status="429", reason="QUEUE_FULL") == 1
    assert more(now, route="/models/<name>") == 1
    assert more(now, route="/models/<name>/predict", reason="BODY_TOO_LARGE") == 1
    assert more(now, route="", status="404", reason="ROUTE_NOT_FOUND") == 1
    assert more(now, route="", status="400", reason="MALFORMED_REQUEST") == 1
    name = "facet_http_request_duration_seconds_count"
    assert more(now, route="/predict") == 4
    name = "facet_http_request_body_bytes_total"
    assert more(now, route="/predict") == 4 * len(b"picture")
    wait_until(lambda: len(running.process.logged("request")) == lines + 8, "a line for each")


def test_neither_probes_nor_scrapes_are_requests_of_callers(served: tuple[Gateway, Backend]) -> None:
    """They are counted where they fail, as they are logged."""
    running, _ = served
    name = "facet_http_requests_total"
    before = scrape(place(running)).value(name)
    for path in ("/healthz", "/readyz"):
        assert running.get(path).status == 200
    assert ask(place(running)).status == 200
    assert ask(place(running), "/healthz").status == 404
    wait_for_value(place(running), before + 1, name)


def test_how_the_processes_are_is_told_with_what_was_counted(served: tuple[Gateway, Backend]) -> None:
    """Their connections, what they answer now, and for how many calls there is room."""
    running, backend = served
    answer = backend.answer
    wait_for_value(place(running), WORKERS, "facet_http_processes")
    room = WORKERS * (64 - 8)
    wait_for_value(place(running), room, "facet_http_permits_free")
    with held_request(running, backend) as held:
        wait_for_value(place(running), 1, "facet_http_in_flight")
        wait_for_value(place(running), room - 1, "facet_http_permits_free")
        assert scrape(place(running)).value("facet_http_held_bytes") == len(b"picture")
        assert scrape(place(running)).value("facet_http_connections") >= 1
        backend.held.set()
        assert read(held.getresponse()).status == 200
    backend.answer = answer
    wait_for_value(place(running), room, "facet_http_permits_free")
    wait_for_value(place(running), 0, "facet_http_held_bytes")


@contextlib.contextmanager
def load(running: Gateway) -> Iterator[list[int]]:
    """Callers that try nothing again, one request at a time each; gives the statuses, 0 for none."""
    told: list[int] = []
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            try:
                told.append(running.predict(b"picture").status)
            except (OSError, http.client.HTTPException):
                told.append(0)

    threads = [threading.Thread(target=call) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)


def test_no_count_is_lost_when_processes_are_killed_and_replaced() -> None:
    """Client, counter and log lines agree, but for what was in flight at a kill; no counter ever falls."""
    with fake_backend() as backend, gateway_process.gateway(backend.target, **SETTINGS) as running:
        process, where = running.process, place(running)
        wait_until(lambda: len(running.workers()) == WORKERS, "all processes are there")
        scrapes = [scrape(where)]

        def worked() -> None:
            done = len(told) + 50
            wait_until(lambda: len(told) > done, "requests are answered")
            scrapes.append(scrape(where))

        with load(running) as told:
            worked()
            os.kill(min(running.workers()), signal.SIGKILL)
            worked()
            before = running.workers()
            process.send(signal.SIGHUP)
            wait_until(lambda: not set(before) & set(running.workers()), "all are replaced")
            worked()
            for signum, count in ((signal.SIGTTIN, WORKERS + 1), (signal.SIGTTOU, WORKERS)):
                process.send(signum)
                wait_until(lambda count=count: len(running.workers()) == count, "so many are there")  # type: ignore[misc]
                worked()
        answered = Counter(told)[200]
        name = "facet_http_requests_total"
        wait_until(lambda: not scrape(where).value("facet_http_in_flight"), "nothing is in flight")
        last = wait_for_value(where, WORKERS, "facet_http_processes")
        for earlier, later in pairwise([*scrapes, last]):
            assert fallen(earlier, later) == []
        counted = last.value(name, route="/predict", status="200")
        assert abs(counted - answered) <= CALLERS  # which were in flight at the kill
        logged = sum(line["path"] == "/predict" for line in process.logged("request"))
        assert abs(last.value(name, route="/predict") - logged) <= CALLERS


@pytest.mark.security(
    endpoint="admin-http",
    attack=("A web page that asks the gateway for its metrics, from another origin or by DNS rebinding"),
    outcome="403",
)
@pytest.mark.parametrize(
    ("headers", "field"),
    [({"Origin": "http://here"}, "Origin"), ({"Host": "facet.example"}, "Host")],
)
def test_a_web_page_gets_no_metrics(
    served: tuple[Gateway, Backend], headers: dict[str, str], field: str
) -> None:
    """Nor who calls the address by a name of others."""
    reply = ask(place(served[0]), **headers)
    assert (reply.status, reply.json["reason"], reply.json["field"]) == (403, "REQUEST_REFUSED", field)


@pytest.mark.security(
    endpoint="keys",
    attack="The gateway's metrics without a key",
    outcome="401",
)
def test_who_has_no_key_gets_no_metrics_where_there_are_keys(tmp_path: Path) -> None:
    """On an address that other machines can reach there must be some."""
    keys = KeyFile(tmp_path)
    secret, other = keys.add("prometheus", METRICS), keys.add("shop", PREDICT)
    environ = {
        **SETTINGS,
        **keys.environ,
        "FACET_HTTP_METRICS_ADDRESS": "0.0.0.0:0",
        "FACET_ADMIN_HOSTS": "facet.example",
    }
    with gateway_process.gateway("127.0.0.1:1", **environ) as running:
        where = place(running)
        refused = ask(where, Host="facet.example")
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        lacking = ask(where, Host="facet.example", Authorization=f"Bearer {other}")
        assert (lacking.status, lacking.json["reason"]) == (403, "KEY_LACKS_SCOPE")
        assert lacking.json["detail"].endswith("needed here: metrics or manage")
        assert ask(where, Host="facet.example", Authorization=f"Bearer {secret}").status == 200
        assert running.get("/healthz").status == 200


@pytest.mark.security(
    endpoint="keys",
    attack="The gateway's metrics at an address that others can reach, without keys",
    outcome="The start ends",
)
@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, "accepted without FACET_API_KEYS_FILE: a loopback address"),
        ({"FACET_API_KEY_SCOPES": "predict"}, "accepted without FACET_API_KEYS_FILE: a loopback address"),
    ],
)
def test_metrics_that_others_could_read_stop_the_start(environ: dict[str, str], reason: str) -> None:
    """With one line that says what is accepted."""
    settings = {"FACET_HTTP_ADDRESS": "127.0.0.1:0", "FACET_HTTP_METRICS_ADDRESS": "0.0.0.0:0", **environ}
    with processes.running(gateway_process.COMMAND, **settings) as process:
        assert process.wait() != 0
        assert process.lines[-1].startswith("facet gateway: FACET_HTTP_METRICS_ADDRESS")
        assert reason in process.lines[-1]
