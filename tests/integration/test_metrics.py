"""Rules of the backend's metrics: real processes, which are killed and replaced, and what is told of them."""

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from inference_server.api.torchserve import TorchServeService
from inference_server.dispatch.families import SERVICES
from tests.support.admin import Managed, managed
from tests.support.metrics import Scrape, fallen, scrape, scraped, wait_for_value
from tests.support.model_backend import Client, clients
from tests.support.pictures import ASTRONAUT
from tests.support.processes import PATIENCE, wait_until
from utils.domain import DetectOptions, DetectRequest
from utils.errors import BackendUnavailable, FacetError, InvalidRequest
from utils.service_client import ServiceClient

PORTRAIT = ASTRONAUT.read_bytes()
FACES = {"model": "face_detection", "version": "1.0"}
ECHO = {"model": "echo", "version": "1.0"}
CALLERS = 4


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """A backend with faces and an echo."""
    models = "face_detection,echo"
    with managed(tmp_path_factory.mktemp("metrics"), FACET_MODELS=models) as made:
        yield made


@pytest.fixture
def before(served: Managed) -> Scrape:
    """What was counted before the test."""
    return scrape(served.address)


def test_each_call_is_counted_by_its_model_and_what_became_of_it(served: Managed, before: Scrape) -> None:
    """With its service, its time, its bytes, and the stages that it went through."""
    with ServiceClient(served.backend.address, timeout=PATIENCE) as client:
        for _ in range(3):
            client.detect(DetectRequest(PORTRAIT, DetectOptions()))
        for text in "ab":
            client.predict("echo", {"text": text})
        for name, inputs in (("none", {}), ("echo", {"text": 5})):
            with pytest.raises(FacetError):
                client.predict(name, inputs)

    def more(now: Scrape, name: str, **labels: str) -> float:
        return now.value(name, **labels) - before.value(name, **labels)

    total = before.value("facet_requests_total") + 7
    now = wait_for_value(served.address, total, "facet_requests_total")
    assert more(now, "facet_requests_total", code="OK", reason="", **FACES) == 3
    assert more(now, "facet_requests_total", code="OK", reason="", **ECHO) == 2
    refused = {"code": "INVALID_ARGUMENT", "reason": "INVALID_INPUT"}
    assert more(now, "facet_requests_total", **refused, **ECHO) == 1
    unknown = {"code": "NOT_FOUND", "reason": "MODEL_NOT_FOUND", "model": ""}
    assert more(now, "facet_requests_total", **unknown) == 1
    assert more(now, "facet_service_requests_total", service="Inference", **FACES) == 3
    assert more(now, "facet_service_requests_total", service="Models") == 4
    for stage, count in (("request", 3), ("queue", 3), ("decode", 3), ("predict", 3)):
        assert more(now, f"facet_{stage}_duration_seconds_count", **FACES) == count
        assert 0 < more(now, f"facet_{stage}_duration_seconds_sum", **FACES) < PATIENCE
    assert more(now, "facet_payload_bytes_total", **FACES) == 3 * len(PORTRAIT)
    assert more(now, "facet_faces_total", **FACES) == 3
    assert more(now, "facet_batch_size_count", **FACES) == 3
    assert more(now, "facet_inferences_total", outcome="ok", **ECHO) == 2
    assert more(now, "facet_inferences_total", outcome="failed", **ECHO) == 1
    assert more(now, "facet_handovers_total", **ECHO) == 3
    busy = [labels for name, labels in now.samples if name == "facet_worker_busy_seconds_total"]
    assert {dict(labels)["model"] for labels in busy} == {"face_detection", "echo"}


def test_each_picture_of_a_stream_is_an_inference_and_the_stream_one_call(
    served: Managed, before: Scrape
) -> None:
    """As the log has one line for it."""
    requests = [DetectRequest(PORTRAIT), DetectRequest(b"no picture"), DetectRequest(PORTRAIT)]
    with ServiceClient(served.backend.address, timeout=PATIENCE) as client:
        outcomes = dict(client.detect_many(requests))
    assert [isinstance(outcomes[number], InvalidRequest) for number in range(3)] == [False, True, False]
    calls = before.value("facet_requests_total", **FACES) + 1
    now = wait_for_value(served.address, calls, "facet_requests_total", **FACES)
    inferences = {"outcome": "ok", **FACES}
    more = now.value("facet_inferences_total", **inferences) - before.value(
        "facet_inferences_total", **inferences
    )
    assert more == 2


def test_how_the_backend_is_now_is_told_with_what_was_counted(served: Managed) -> None:
    """Processes by what they do, models by their states, and what is computed."""
    now = scrape(served.address)
    assert now.value("facet_workers", state="ready", **FACES) == 2
    assert now.value("facet_workers_wanted", **ECHO) == now.value("facet_workers", **ECHO) == 1
    assert now.value("facet_model_state", state="ready") == 2
    [engine] = {
        dict(labels)["engine"]
        for name, labels in now.samples
        if name == "facet_model_info" and FACES.items() <= set(labels)
    }
    assert engine
    assert now.value("facet_backend_state", state="ready") == 1
    assert now.value("facet_worker_memory_bytes", **ECHO) > 1_000_000
    assert now.value("facet_start_time_seconds") <= time.time()
    with clients(served.backend.address, 1) as [client]:
        calling = threading.Thread(target=client.predict, args=("echo", {"text": "", "sleep_seconds": 1}))
        calling.start()
        wait_for_value(served.address, 1, "facet_in_flight", **ECHO)
        assert scrape(served.address).value("facet_queue_requests", **ECHO) == 1
        calling.join(PATIENCE)


@contextlib.contextmanager
def load(address: str) -> Iterator[list[str]]:
    """Callers of the echo, one call at a time each, which try nothing again; gives what they were told."""
    told: list[str] = []
    stop = threading.Event()

    def call_until_failure(client: Client) -> None:
        while not stop.is_set():
            try:
                client.predict("echo", {"text": "a"})
            except FacetError as error:
                told.append(error.reason)
                return
            told.append("")

    def call() -> None:
        while not stop.is_set():
            with clients(address, 1) as [client]:  # another connection after each failure
                call_until_failure(client)

    threads = [threading.Thread(target=call) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)


def test_no_count_is_lost_when_processes_are_killed_and_replaced(tmp_path: Path) -> None:
    """Clients, counters and log lines agree, but for what was in flight at a kill; no counter ever falls."""
    with managed(tmp_path, FACET_MODELS="face_detection,echo") as served:
        backend, process = served.backend, served.backend.process
        scrapes = [scrape(served.address)]

        def worked() -> None:
            done = len(told) + 50
            wait_until(lambda: len(told) > done, "calls are answered")
            scrapes.append(scrape(served.address))

        with load(backend.address) as told:
            worked()
            for pid in (min(backend.workers()), *backend.ready_model_workers()):
                os.kill(pid, signal.SIGKILL)
                process.wait_for("worker crashed", worker=pid)
                process.wait_for("worker ready")
                worked()
            os.kill(served.pid(), signal.SIGKILL)
            worked()
            process.send(signal.SIGHUP)
            wait_until(lambda: len(process.logged("worker ended")) >= 4, "all are replaced")
            worked()
        in_flight = CALLERS  # at the one kill of a worker that receives
        wait_until(lambda: not scrape(served.address).value("facet_queue_requests"), "nothing waits")
        last = scrape(served.address)
        scrapes.append(last)
        for earlier, later in pairwise(scrapes):
            assert fallen(earlier, later) == []
        lines = Counter(line.get("reason", "") for line in process.logged("request"))
        client = Counter(told)
        answered = last.value("facet_requests_total", code="OK", **ECHO)
        assert abs(answered - client[""]) <= in_flight
        assert abs(answered - lines[""]) <= in_flight
        assert {*client} <= {"", BackendUnavailable.reason}
        assert last.value("facet_worker_exits_total", cause="crashed", **FACES) == 1
        assert last.value("facet_worker_exits_total", cause="crashed", **ECHO) == 1
        assert last.value("facet_worker_exits_total", cause="told", **FACES) == 2
        assert last.value("facet_reloads_total") == 1


def test_a_version_counts_on_when_it_is_registered_again(tmp_path: Path) -> None:
    """And is not told of while it is gone; another that gets its queue begins at 0."""
    store = tmp_path / "store" / "parrot" / "1"
    store.mkdir(parents=True)
    (store / "model.toml").write_text('kind = "echo"\n')
    with managed(tmp_path, FACET_MODELS="face_detection") as served:

        def calls(name: str, times: int) -> Scrape:
            with ServiceClient(served.backend.address, timeout=PATIENCE) as client:
                for _ in range(times):
                    client.predict(name, {"text": "a"})
            total = counted[name] = counted[name] + times
            return wait_for_value(served.address, total, "facet_requests_total", model=name)

        counted: Counter[str] = Counter()
        queue = served.backend.register("echo")["queue"]
        calls("echo", 3)
        served.backend.unregister("echo")
        wait_until(lambda: len(served.status()["groups"]) == 2, "its queue is free")
        assert served.backend.register("parrot")["queue"] == queue
        now = calls("parrot", 2)
        assert not [sample for sample in now.samples if ("model", "echo") in sample[1]]
        served.backend.register("echo")
        now = calls("echo", 1)
        assert now.value("facet_requests_total", model="parrot") == 2


def test_ends_of_processes_are_counted_by_their_cause(tmp_path: Path) -> None:
    """A hang, a limit, an end that was asked for; a model that cannot be loaded."""
    settings = {"FACET_RECYCLE_REQUESTS": "20", "FACET_MODELS": "face_detection"}
    with managed(tmp_path, **settings) as served:
        served.backend.register("echo", response_timeout=0.5)
        with clients(served.backend.address, 1) as [client]:
            with pytest.raises(FacetError):
                client.predict("echo", {"text": "", "sleep_seconds": 30}, timeout=20)
            wait_for_value(served.address, 2, "facet_worker_exits_total", cause="hung", **ECHO)
            for _ in range(30):
                client.predict("echo", {"text": "a"})
            wait_for_value(served.address, 1, "facet_worker_exits_total", cause="recycled", **ECHO)
        served.backend.process.send(signal.SIGTTOU)
        wait_for_value(served.address, 1, "facet_worker_exits_total", cause="told", **FACES)


@pytest.mark.security(
    endpoint="admin-http",
    attack="A web page that asks the backend for its metrics, from another origin",
    outcome="403",
)
@pytest.mark.parametrize("header", ["Origin", "Sec-Fetch-Site"])
def test_a_web_page_gets_no_metrics(served: Managed, header: str) -> None:
    """As nothing else of the admin process."""
    answer = served.ask("GET", "/metrics", headers={header: "cross-site"})
    assert answer.problem == (403, "REQUEST_REFUSED", header)


def test_metrics_come_in_the_format_that_is_asked_for(served: Managed) -> None:
    """In that of OpenMetrics, or that of Prometheus where the request asks for neither."""
    plain = served.ask("GET", "/metrics", headers={})
    assert plain.headers["content-type"].startswith("text/plain")
    assert scraped(plain.body.decode()).value("facet_workers_wanted") == 4
    accepted = "application/openmetrics-text; version=1.0.0"
    other = served.ask("GET", "/metrics", headers={"Accept": accepted})
    assert other.headers["content-type"].startswith("application/openmetrics-text")
    assert other.body.endswith(b"# EOF\n")
    assert served.ask("POST", "/metrics", {}).problem[:2] == (405, "METHOD_NOT_ALLOWED")


def test_every_service_whose_calls_are_logged_is_counted(served: Managed) -> None:
    """Or else its calls were in no `facet_service_requests_total`."""
    with grpc.insecure_channel(served.backend.address) as channel:
        services = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    others = {service for service in services if service.startswith("grpc.")}
    assert others
    assert (services - others) | {TorchServeService.name} == {*SERVICES}
