"""Rules for the day when things break: real workers with hooks, real signals, every answer looked at."""

import contextlib
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from inference_server import admin_process
from inference_server.catalogue.model_settings import MOST_PROCESSES
from inference_server.catalogue.table import QUEUES
from inference_server.dispatch.stats import SharedStats
from inference_server.supervision.liveness import HEARTBEAT_SECONDS
from protos import infer_pb2 as pb
from protos import infer_pb2_grpc
from tests.support.facet import ROOMY, found
from tests.support.hooked_worker import BLUE, GREEN, RED, YELLOW
from tests.support.pictures import ASTRONAUT, coloured, png
from tests.support.processes import PATIENCE, Process, alive, running, standing_still, wait_until
from tests.support.relay import relay
from utils.cancellation import Cancellation
from utils.domain import Detection, DetectOptions, DetectRequest
from utils.errors import BackendUnavailable, DeadlineExceeded, QueueFull, WorkerCrashed
from utils.service_client import ServiceClient


def sleeping(milliseconds: float) -> DetectRequest:
    """A request that takes so long."""
    return DetectRequest(coloured(BLUE), DetectOptions(min_face_size=milliseconds))


def who(detection: Detection) -> int:
    """Which process slept for a request."""
    return round(detection.faces[0].landmarks.nose.x)


@contextlib.contextmanager
def hooked(**environ: str) -> Iterator[tuple[Process, ServiceClient]]:
    """A backend of hooked workers, ready, and a client of it."""
    command = [sys.executable, "-m", "tests.support.hooked_backend"]
    with running(command, **{"FACET_GRPC_ADDRESS": "127.0.0.1:0", **ROOMY, **environ}) as process:
        address = process.wait_for("ready")["grpc_address"]
        with ServiceClient(address, timeout=60) as client:
            yield process, client


def page_of(process: Process) -> SharedStats:
    """What the workers of a backend share."""
    for place in Path(f"/proc/{process.pid}/fd").iterdir():
        if "facet-stats" in str(place.readlink()):
            with place.open("r+b") as stats:
                others = (MOST_PROCESSES + admin_process.SLOTS, QUEUES + 1)
                size = place.stat().st_size
                [slots] = [slots for slots in range(100) if SharedStats.size(slots, *others) == size]
                return SharedStats(stats.fileno(), slots, *others)
    raise AssertionError("the supervisor holds no stats")


def accepted(process: Process) -> int:
    """How many requests have no answer yet."""
    return page_of(process).waiting(0)[0]


def in_hand(process: Process) -> int:
    """How many detectors have one."""
    return sum(row.busy for row in page_of(process).rows)


def handled(process: Process) -> int:
    """How many were computed."""
    return sum(row.handled for row in page_of(process).rows)


@contextlib.contextmanager
def occupied(process: Process, client: ServiceClient, detectors: int) -> Iterator[None]:
    """So many detectors have a request in flight meanwhile."""
    leave = [Cancellation() for _ in range(detectors)]
    with ThreadPoolExecutor(detectors) as threads:
        for shade, one in enumerate(leave):
            threads.submit(client.detect, coloured(YELLOW, shade), cancellation=one)
        try:
            wait_until(lambda: in_hand(process) == detectors, f"{detectors} are being computed")
            yield
        finally:
            for one in leave:
                one.cancel()


class Load:
    """Threads that send pictures over one client until told to stop, and remember what went wrong.

    Bytes behind the picture make each one another: a picture that two workers had in flight when the test
    killed them both would rightly be taken for what killed them.
    """

    def __init__(self, client: ServiceClient, threads: int = 4) -> None:
        self._client = client
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(threads)
        self.done = 0
        self.wrong: list[str] = []
        self._numbers = itertools.count()
        self._picture = ASTRONAUT.read_bytes()
        self._right = client.detect(self._picture).faces
        self._runs = [self._pool.submit(self._send) for _ in range(threads)]

    def _send(self) -> None:
        while not self._stop.is_set():
            try:
                detection = self._client.detect(self._picture + b"%d" % next(self._numbers))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
                self.wrong.append(repr(error))
                continue
            if detection.faces != self._right:
                self.wrong.append(f"other faces: {detection.faces}")
            self.done += 1

    def go_on(self, requests: int = 10) -> None:
        """Wait until so many more requests have been answered."""
        until = self.done + requests
        wait_until(lambda: self.done >= until or self.wrong != [], f"{requests} more answers")

    def __enter__(self) -> "Load":
        self.go_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()


def test_calls_over_one_channel_reach_every_worker() -> None:
    """One connection, four workers: no request waits while a worker is idle."""
    with hooked(FACET_WORKERS="4") as (process, client), occupied(process, client, 4):
        assert accepted(process) == 4


def test_a_worker_killed_under_load_costs_no_request() -> None:
    """Neither one, nor all but one, nor again and again."""
    with hooked(FACET_WORKERS="3") as (process, client), Load(client) as load:
        for victims in (1, 2, 1):
            for pid in process.children()[:victims]:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: len(process.children()) == 3, "replacements")
            load.go_on()
            wait_until(
                lambda: len(process.logged("worker ready")) == 3 + len(process.logged("worker crashed")),
                "the replacements are ready",
            )
        assert len(process.logged("worker crashed")) == 4
    assert load.wrong == []


def test_a_worker_killed_between_taking_and_claiming_costs_no_request(tmp_path: Path) -> None:
    """The request is neither queued nor claimed, and is requeued all the same."""
    token = tmp_path / "die"
    with hooked(TEST_DIE_BEFORE_CLAIM=str(token)) as (process, client):
        token.touch()
        assert len(client.detect(ASTRONAUT.read_bytes()).faces) == 1
        assert not token.exists()
        process.wait_for("worker crashed", how="killed by SIGKILL")


def test_a_stopped_worker_is_killed_and_its_requests_are_answered() -> None:
    """It neither reads nor beats; what it had in flight, and what it was the dispatcher of, is done again."""
    with hooked(FACET_HANG_SECONDS="2") as (process, client), Load(client) as load:
        os.kill(process.children()[0], signal.SIGSTOP)
        process.wait_for("worker hung")
        process.wait_for("worker ready")
        load.go_on()
    assert load.wrong == []


def test_a_backend_that_stood_still_has_lost_nothing_and_learned_nothing() -> None:
    """As on a machine that was suspended: nobody is hung, and a picture takes no longer than before."""
    with hooked() as (process, client), ThreadPoolExecutor(2) as threads:
        for _ in range(4):
            client.detect(sleeping(10))
        calls = [threads.submit(client.detect, sleeping(300)) for _ in range(2)]
        wait_until(lambda: in_hand(process) == 2, "both are being computed")
        with standing_still([process.pid, *process.children()]):
            time.sleep(HEARTBEAT_SECONDS + 1)
        assert [len(call.result(60).faces) for call in calls] == [1] * 2
        client.detect(png(np.zeros((1500, 2000, 3), np.uint8)), timeout=5)
        assert process.logged("worker hung") == process.logged("worker crashed") == []


@pytest.mark.security(
    endpoint="pictures",
    attack="A picture that hangs the detector",
    outcome=(
        "`WORKER_CRASHED` when two workers have been killed, each after `FACET_HANG_SECONDS`; health is "
        "answered meanwhile"
    ),
)
def test_a_hung_detector_is_killed_and_health_answers_meanwhile() -> None:
    """No progress for FACET_HANG_SECONDS; the picture is tried once more, then refused for ten minutes."""
    with hooked(FACET_HANG_SECONDS="1") as (process, client):
        with ThreadPoolExecutor(1) as thread:
            call = thread.submit(client.detect, coloured(GREEN))
            client.check_ready(timeout=5)
            with pytest.raises(WorkerCrashed):
                call.result(60)
        assert len(process.logged("worker hung")) == 2
        assert len(client.detect(ASTRONAUT.read_bytes()).faces) == 1


def freeze_who_decodes(process: Process) -> bool:
    """Stop a worker that decodes a large picture, known by its allowance for it; False where none does."""
    workers = {line["slot"]: line["worker"] for line in process.logged("worker ready")}
    ahead = time.monotonic() + HEARTBEAT_SECONDS
    for slot, row in enumerate(page_of(process).rows):
        if row.busy and row.progress_due > ahead:
            os.kill(workers[slot], signal.SIGSTOP)
            return True
    return False


@pytest.mark.security(
    endpoint="pictures",
    attack="A picture that freezes each worker that decodes it",
    outcome="An error when two workers have been killed",
)
def test_a_picture_that_freezes_its_worker_while_it_is_decoded_is_poison() -> None:
    """As a decoder does whose fault is dumped as a core for long; though decoding is allowed seconds."""
    large = png(np.zeros((4900, 5000, 3), np.uint8))
    with hooked() as (process, client), ThreadPoolExecutor(1) as thread:
        call = thread.submit(client.detect, large)
        for deaths in (1, 2):
            wait_until(partial(freeze_who_decodes, process), "it is being decoded")
            process.wait_for("request in flight at a crash", deaths=deaths)
        with pytest.raises((WorkerCrashed, BackendUnavailable)):
            call.result(60)


@pytest.mark.security(
    endpoint="pictures",
    attack=("A picture that kills the worker that decodes it, from several connections, again and again"),
    outcome="Two workers die, then it is refused; others are answered all the while",
)
def test_a_poison_picture_kills_two_workers_whoever_sends_it_and_however_often() -> None:
    """Logged by its key; everybody else is served all the while."""
    with hooked(FACET_WORKERS="3") as (process, client), Load(client, threads=2) as load:
        poison = coloured(RED)
        for _ in range(3):
            with ServiceClient(address_of(process)) as other, pytest.raises(WorkerCrashed):
                other.detect(poison, timeout=30)
        with pytest.raises(WorkerCrashed):
            client.detect(poison)
        process.wait_for("request in flight at a crash", deaths=2)
        load.go_on()
    assert load.wrong == []
    assert len([line for line in process.logged("worker crashed") if "SEGV" in line["how"]]) == 2


def address_of(process: Process) -> str:
    """Where a backend listens."""
    address: str = process.logged("ready")[0]["grpc_address"]
    return address


@pytest.mark.security(
    endpoint="pictures",
    attack="A picture that has killed two workers, sent when no worker of then is left",
    outcome="Refused; no third worker dies of it",
)
def test_a_replacement_knows_the_poison_of_before() -> None:
    """Also when every worker that saw it is gone."""

    def refused() -> bool:
        try:
            client.detect(coloured(RED), timeout=30)
        except BackendUnavailable:  # the only worker has just died
            return False
        except WorkerCrashed:
            return True
        raise AssertionError("it was computed")

    with hooked(FACET_WORKERS="1") as (process, client):
        wait_until(refused, "it is poison")
        os.kill(process.children()[0], signal.SIGKILL)
        wait_until(lambda: len(process.logged("worker ready")) == 4, "a replacement")
        wait_until(refused, "it still is")
        assert len(process.logged("worker crashed")) == 3


def test_a_reload_under_load_costs_no_request_and_leaves_no_old_worker() -> None:
    """Twice in a row, with a kill in the middle."""
    with hooked() as (process, client), Load(client) as load:
        old = process.children()
        process.send(signal.SIGHUP)
        process.wait_for("reload")
        process.send(signal.SIGHUP)
        process.wait_for("reload")
        os.kill(old[0], signal.SIGKILL)
        wait_until(lambda: not any(map(alive, old)), "the old workers are gone")
        wait_until(lambda: len(process.children()) == 2, "as many as before")
        load.go_on()
    assert load.wrong == []


def test_scaling_under_load_costs_no_request() -> None:
    """Up by SIGTTIN, down by SIGTTOU, and a SIGTERM of one worker by somebody else."""
    with hooked() as (process, client), Load(client) as load:
        process.send(signal.SIGTTIN)
        wait_until(lambda: len(process.logged("worker ready")) == 3, "a third worker")
        process.send(signal.SIGTTOU)
        process.wait_for("scale", workers=2)
        process.send(signal.SIGTTOU)
        wait_until(lambda: len(process.children()) == 1, "one worker")
        load.go_on()
        os.kill(process.children()[0], signal.SIGTERM)
        wait_until(lambda: len(process.logged("worker ready")) == 4, "a replacement")
        load.go_on()
        assert process.logged("worker crashed") == []
    assert load.wrong == []


def test_workers_are_recycled_after_their_requests_and_nobody_notices() -> None:
    """One at a time, the new before the old."""
    with hooked(FACET_RECYCLE_REQUESTS="20") as (process, client), Load(client) as load:
        wait_until(lambda: len(process.logged("worker recycled")) >= 3, "recycled")
        load.go_on()
        assert process.logged("worker crashed") == []
    assert load.wrong == []


@pytest.mark.security(
    endpoint="grpc",
    attack="More pictures than the machine can compute",
    outcome="`QUEUE_FULL` with a delay of less than 30 s; others are answered when there is room",
)
def test_a_full_machine_refuses_at_once_and_says_when_to_come_back() -> None:
    """By the time that such pictures take; and serves again when there is room."""
    with hooked(FACET_QUEUE_SECONDS="0.5") as (process, client):
        client.detect(sleeping(2000))
        with occupied(process, client, 2), pytest.raises(QueueFull) as caught:
            client.detect(sleeping(10), timeout_named=False)
        assert caught.value.retry_after is not None
        assert 0.1 <= caught.value.retry_after < 30
        assert "min_face_size" in caught.value.detail
        wait_until(lambda: accepted(process) == 0, "there is room")
        assert len(client.detect(sleeping(10)).faces) == 1


def test_who_names_a_time_waits_while_who_names_none_is_refused() -> None:
    """A deadline is a time that was named, unless its sender says that it is a default; none is none."""
    image = pb.Image(raw_data=coloured(BLUE), options=pb.DetectOptions(min_face_size=10))
    with (
        hooked(FACET_QUEUE_SECONDS="0.5") as (process, client),
        grpc.insecure_channel(address_of(process)) as channel,
    ):
        stub = infer_pb2_grpc.InferenceStub(channel)
        client.detect(sleeping(2000))
        with occupied(process, client, 2):
            default = [("x-timeout-source", "default")]
            refused = [stub.Predict.future(image), stub.Predict.future(image, timeout=60, metadata=default)]
            assert [call.code() for call in refused] == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 2
            patient = stub.Predict.future(image, timeout=60)
            wait_until(lambda: accepted(process) == 3, "it waits")
        assert len(patient.result().results) == 1


@pytest.mark.security(
    endpoint="grpc",
    attack="12 waiting pictures of 4 MiB, to fill the memory",
    outcome="The worker that takes them grows by less than 2.5 times their bytes, and answers them",
)
def test_a_picture_that_waits_is_not_held_by_all_that_have_passed_it_on() -> None:
    """But as gRPC received it, and in its buffer: what may wait bounds what a backend takes."""
    count, size = 12, 4 * 1024**2
    with hooked(FACET_WORKERS="1") as (process, client), ThreadPoolExecutor(count) as threads:
        with occupied(process, client, 1):
            [worker] = process.children()
            before = private_bytes(worker)
            large = [coloured(BLUE, shade).ljust(size, b"\0") for shade in range(count)]
            calls = [threads.submit(client.detect, picture) for picture in large]
            wait_until(lambda: accepted(process) == 1 + count, "all wait")
            assert private_bytes(worker) - before < 2.5 * count * size
        assert all(len(call.result(60).faces) == 1 for call in calls)


def private_bytes(pid: int) -> int:
    """A process's memory that is no file, as buffers are."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


def test_a_request_that_cannot_be_done_in_time_is_refused_before_it_waits() -> None:
    """The machine knows how long such pictures take."""
    with hooked() as (process, client):
        client.detect(sleeping(2000))
        # An idle machine would try it.
        with (
            occupied(process, client, 1),
            pytest.raises(DeadlineExceeded, match=r"cannot be .* min_face_size"),
        ):
            client.detect(sleeping(2000), timeout=1.5)
        assert handled(process) == 1


def test_a_request_that_waited_too_long_is_told_so_before_its_deadline() -> None:
    """It is not begun: its detector has learned what such a picture takes, and is free for others."""
    image = pb.Image(raw_data=coloured(BLUE), options=pb.DetectOptions(min_face_size=2000))
    with hooked(FACET_WORKERS="1") as (process, _), grpc.insecure_channel(address_of(process)) as channel:
        stub = infer_pb2_grpc.InferenceStub(channel)
        first = stub.Predict.future(image, timeout=60)
        wait_until(lambda: in_hand(process) == 1, "it is being computed")
        late = [stub.Predict.future(image, timeout=3.9) for _ in range(2)]
        assert len(first.result().results) == 1
        assert [call.code() for call in late] == [grpc.StatusCode.DEADLINE_EXCEEDED] * 2
        assert all("waited too long" in call.details() for call in late)
        assert all("min_face_size" in call.details() for call in late)
        assert handled(process) == 1


@pytest.mark.security(
    endpoint="grpc",
    attack="Callers that leave while their pictures are computed, to have work done for nobody",
    outcome="The computation is given up, three times of three",
)
def test_a_caller_who_leaves_frees_the_detector() -> None:
    """What is computed for nobody is given up at the next step."""
    with hooked(FACET_WORKERS="1") as (process, _), grpc.insecure_channel(address_of(process)) as channel:
        stub = infer_pb2_grpc.InferenceStub(channel)
        image = pb.Image(raw_data=coloured(YELLOW))
        for count, name in enumerate(("first", "second", "third"), start=1):
            call = stub.Predict.future(image, timeout=60, metadata=[("x-request-id", name)])
            wait_until(lambda: in_hand(process) == 1, "it is being computed")
            call.cancel()
            line = process.wait_for("request", request_id=name)
            assert line["reason"] == "CANCELLED"
            wait_until(partial(has_given_up, process, count), "it is given up")
        assert handled(process) == 0


def has_given_up(process: Process, count: int) -> bool:
    """Whether so many computations were given up, and nothing is in flight."""
    return in_hand(process) == 0 and len(process.logged("abandoned")) == count


@pytest.mark.security(
    endpoint="pictures",
    attack="A picture that kills its worker, from twelve callers at once",
    outcome="Two workers of four die; all callers are told, and others are answered",
)
def test_a_poison_sent_by_many_at_once_kills_two_workers() -> None:
    """No third has it in flight before the first two are known to have died; everybody is told."""

    def send(_: int) -> str:
        with ServiceClient(address_of(process), timeout=60) as other:
            for _ in range(20):
                try:
                    other.detect(coloured(RED))
                except BackendUnavailable:  # the worker that was asked died of it
                    continue
                except WorkerCrashed:
                    return "refused"
        return "never told"

    with hooked(FACET_WORKERS="4") as (process, client):
        with ThreadPoolExecutor(12) as threads:
            assert set(threads.map(send, range(12))) == {"refused"}
        assert len(process.logged("worker crashed")) == 2
        wait_until(lambda: found(client, ASTRONAUT.read_bytes()) == 1, "others are served")


def test_signals_to_the_whole_group_end_no_worker() -> None:
    """They are the supervisor's: a reload replaces the workers, and nothing is lost."""
    with hooked() as (process, client), Load(client) as load:
        old = process.children()
        process.send_group(signal.SIGHUP)
        wait_until(lambda: not any(map(alive, old)), "the old workers are gone")
        process.send_group(signal.SIGTTIN)
        wait_until(lambda: len(process.logged("worker ready")) == 5, "one worker more")
        load.go_on()
        assert process.logged("worker crashed") == []
    assert load.wrong == []


def test_a_stop_does_not_wait_for_those_who_watch_its_health() -> None:
    """A stream of health would last the whole grace."""
    with (
        hooked(FACET_GRACE_SECONDS="60") as (process, _),
        grpc.insecure_channel(address_of(process)) as channel,
    ):
        liveness = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(liveness).status == health_pb2.HealthCheckResponse.SERVING
        process.send(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_picture_that_is_still_on_its_way_when_its_worker_stops_is_answered(signum: signal.Signals) -> None:
    """However long it takes to arrive, up to the grace; no client has to try again."""
    picture = coloured(BLUE).ljust(4 * 1024**2, b"\0")
    with (
        hooked(FACET_WORKERS="1", FACET_GRACE_SECONDS="60") as (process, _),
        relay(address_of(process), len(picture) // 2) as way,
        grpc.insecure_channel(way.address, options=[("grpc.enable_retries", 0)]) as channel,
    ):
        call = infer_pb2_grpc.InferenceStub(channel).Predict.future(pb.Image(raw_data=picture), timeout=60)
        assert way.held.wait(PATIENCE)
        old = process.children()
        process.send(signum)
        if signum == signal.SIGHUP:
            wait_until(lambda: len(process.logged("worker ready")) == 2, "another worker")
        with pytest.raises(grpc.FutureTimeoutError):
            call.result(1.5)  # longer than a worker needs to end that has nothing to do
        way.release.set()
        assert len(call.result(60).results) == 1
        wait_until(lambda: not any(map(alive, old)), "the old worker is gone")


def test_a_stop_computes_what_was_accepted_with_all_detectors() -> None:
    """Also for a worker that received none of it: all calls came over one connection."""
    with hooked(FACET_WORKERS="4") as (process, client), ThreadPoolExecutor(24) as threads:
        calls = [threads.submit(client.detect, sleeping(200)) for _ in range(24)]
        wait_until(lambda: accepted(process) == 24, "all are accepted")
        process.send(signal.SIGTERM)
        detections = [call.result(60) for call in calls]
        late = detections[12:]
        assert len({who(detection) for detection in late}) >= 3
        assert process.wait() == 0


def test_a_stop_lets_what_was_accepted_finish() -> None:
    """Also what still waits in the queue; nothing of it is lost."""
    with hooked() as (process, client), ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(client.detect, sleeping(300)) for _ in range(8)]
        wait_until(lambda: accepted(process) == 8, "all are accepted")
        process.send(signal.SIGTERM)
        assert [len(call.result(60).faces) for call in calls] == [1] * 8
        assert process.wait() == 0
