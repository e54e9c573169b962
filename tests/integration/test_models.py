"""Rules of a backend with many models, as real processes: what is acknowledged holds, and nobody is lost."""

import base64
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inference_server.catalogue import commands
from tests.support.model_backend import Backend, clients, model_backend, wait_for_state
from tests.support.model_package import ODD_ENTRY_POINTS, ODD_MODELS, installed
from tests.support.pictures import ASTRONAUT
from tests.support.processes import PATIENCE, ROOT, alive, wait_until
from utils.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    InvalidInput,
    InvalidModel,
    ModelConflict,
    ModelExists,
    ModelFailed,
    ModelLoadFailed,
    ModelNotFound,
    ModelNotReady,
    WorkerCrashed,
)
from utils.service_client import ServiceClient

CONNECTIONS = 6
"""Over so many at least one goes to each worker, but for one time in 32."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which a package of somebody else's models is installed."""
    return installed(tmp_path_factory.mktemp("package"), "odd_models", ODD_MODELS, ODD_ENTRY_POINTS)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory, package: dict[str, str]) -> Iterator[Backend]:
    """One that is shared by tests which leave it as they found it."""
    with model_backend(tmp_path_factory.mktemp("backend"), **package) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test finds the models of one that has failed."""
    yield
    if "backend" in request.fixturenames:
        request.getfixturevalue("backend").clear()


def test_a_model_answers_from_the_moment_it_is_registered_until_it_is_not(backend: Backend) -> None:
    """Through every worker, with the first call and without a retry."""
    with clients(backend.address, CONNECTIONS) as connections:
        for _ in range(5):
            backend.register("upper")
            for client in connections:
                assert client.predict("upper", {"text": "a"})["text"] == "A"
            backend.unregister("upper")
            for client in connections:
                with pytest.raises(ModelNotFound):
                    client.predict("upper", {"text": "a"})


def test_a_model_of_an_installed_package_is_found_by_its_entry_point(backend: Backend) -> None:
    """Its input is checked by its own schema."""
    registered = backend.register("odd")
    assert (registered["name"], registered["version"], registered["state"]) == ("odd", "1.0", "ready")
    with clients(backend.address, 1) as [client]:
        with pytest.raises(InvalidInput) as caught:
            client.predict("odd", {"text": 3})
        assert caught.value.field == "text"
        assert client.predict("odd", {"text": "print"}) == {"number": 1}
    backend.unregister("odd")


@pytest.mark.parametrize("text", ["fail", "leave", "wrong"])
def test_a_prediction_that_fails_is_the_models_fault_and_its_process_stays(
    backend: Backend, text: str
) -> None:
    """Whether it raises, wants to exit, or answers what its schema does not allow."""
    backend.register("odd")
    with clients(backend.address, 1) as [client]:
        before = client.predict("odd", {"text": "work"})
        with pytest.raises(ModelFailed):
            client.predict("odd", {"text": text})
        assert client.predict("odd", {"text": "work"}) == before
    backend.unregister("odd")


@pytest.mark.security(
    endpoint="models",
    attack="An input that ends or crashes the process of a model, sent twice",
    outcome="Two processes end, then it is refused; the model and face detection answer others",
)
@pytest.mark.parametrize("text", ["exit", "crash"])
def test_an_input_that_ends_two_processes_is_refused(backend: Backend, text: str) -> None:
    """And the model answers others, and face detection everybody."""
    backend.register("odd")
    before = len(backend.process.logged("request in flight at a crash"))
    with clients(backend.address, 1) as [client]:
        for _ in range(2):
            with pytest.raises(WorkerCrashed):
                client.predict("odd", {"text": text})
        assert client.predict("odd", {"text": "work"})["number"] in backend.model_workers()
    assert len(backend.process.logged("request in flight at a crash")) == before + 2
    with ServiceClient(backend.address, timeout=60) as faces:
        assert len(faces.detect(ASTRONAUT.read_bytes()).faces) == 1
    backend.unregister("odd")
    wait_until(lambda: not backend.model_workers(), "its processes are gone")


def test_a_model_that_is_registered_anew_may_compute_what_ended_it_before(backend: Backend) -> None:
    """It may have been mended. Here it has not, so its processes end again."""
    before = len(backend.process.logged("request in flight at a crash"))
    with clients(backend.address, 1) as [client]:
        for deaths in (2, 4):
            backend.register("odd")
            with pytest.raises(WorkerCrashed):
                client.predict("odd", {"text": "exit"})
            wait_until(
                lambda deaths=deaths: (  # type: ignore[misc]
                    len(backend.process.logged("request in flight at a crash")) == before + deaths
                ),
                "two processes ended",
            )
            backend.unregister("odd")


@pytest.mark.security(
    endpoint="models",
    attack="An input that hangs a model, also one that holds the interpreter",
    outcome="`WORKER_CRASHED`; its process is replaced, and the model answers others",
)
@pytest.mark.parametrize("text", ["hang", "hold"])
def test_a_prediction_that_takes_longer_than_it_may_is_ended(backend: Backend, text: str) -> None:
    """Also one that holds the interpreter; a second one of the kind is refused."""
    backend.register("odd", response_timeout=1.0)
    with clients(backend.address, 1) as [client]:
        with pytest.raises(WorkerCrashed):
            client.predict("odd", {"text": text})
        assert client.predict("odd", {"text": "work"})["number"] in backend.model_workers()
    backend.unregister("odd")


def test_a_call_of_many_items_counts_as_hung_by_the_time_of_each(backend: Backend, tmp_path: Path) -> None:
    """Its process may take longer than `response_timeout` for all of them."""
    backend.register("slow", name="classifier", response_timeout=1.0)
    picture = tmp_path / "picture"
    picture.write_bytes(b"123")
    script = str(ROOT / "tests/support/published_clients.py")
    command = [sys.executable, script, "classifier", backend.address, *[str(picture)] * 4]
    answer = subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert json.loads(answer.stdout) == [3, 3, 3, 3]


@pytest.mark.security(
    endpoint="models",
    attack="A model that asks for more memory than `memory_bytes`",
    outcome="It does not get it; its process is replaced",
)
def test_a_model_gets_no_more_memory_than_its_operator_gives_it(backend: Backend) -> None:
    """What it asks beyond that fails, and its process is replaced, which may have kept what it had."""
    backend.register("odd", memory_bytes=1024**3)
    with clients(backend.address, 1) as [client]:
        before = client.predict("odd", {"text": "work"})
        with pytest.raises(ModelFailed):
            client.predict("odd", {"text": "allocate"})
        wait_until(lambda: client.predict("odd", {"text": "work"}) != before, "another process")
    backend.unregister("odd")


@pytest.mark.security(
    endpoint="models",
    attack="A model that forks",
    outcome="What it has forked ends with its process",
)
def test_children_of_a_model_end_with_its_process(backend: Backend) -> None:
    """Whatever the model has forked."""
    backend.register("odd")
    with clients(backend.address, 1) as [client]:
        child = client.predict("odd", {"text": "fork"})["number"]
    assert alive(child)
    backend.unregister("odd")
    wait_until(lambda: not alive(child), "the child is gone")


def test_children_of_a_model_end_with_a_supervisor_that_is_killed(
    tmp_path: Path, package: dict[str, str]
) -> None:
    """Though nobody is left to end them, and their parent cannot: it holds its interpreter."""
    with model_backend(tmp_path, FACET_MODELS="odd", **package) as running, ThreadPoolExecutor(1) as pool:
        with clients(running.address, 1) as [client]:
            child = client.predict("odd", {"text": "fork"})["number"]
            [parent] = running.model_workers()
            holding = pool.submit(client.predict, "odd", {"text": "hold"})
            wait_until(lambda: "holding" in running.process.lines, "it holds it")
            running.process.send(signal.SIGKILL)
            with pytest.raises(BackendUnavailable):
                holding.result()
        wait_until(lambda: not alive(child), "the child is gone")
        assert not alive(parent)


@pytest.mark.security(
    endpoint="models",
    attack="A model that blocks the signals that would end it",
    outcome="Its process is ended all the same",
)
def test_a_model_that_blocks_signals_is_ended_all_the_same(backend: Backend) -> None:
    """By one that cannot be blocked, if need be."""
    backend.register("odd")
    with clients(backend.address, 1) as [client]:
        client.predict("odd", {"text": "block"})
    [pid] = backend.model_workers()
    backend.unregister("odd")
    wait_until(lambda: not alive(pid), "its process is gone")


@pytest.mark.parametrize("name", ["load-raises", "load-crashes", "load-hangs", "load-exits"])
def test_a_model_that_cannot_be_loaded_is_refused_and_leaves_nothing(backend: Backend, name: str) -> None:
    """With the reason, where it has one."""
    with pytest.raises(ModelLoadFailed) as caught:
        backend.register(name, startup_timeout=2.0 if name == "load-hangs" else PATIENCE)
    reason = {"load-raises": "the weights are not there", "load-hangs": "it was not ready within 2 s"}
    assert reason.get(name, "") in caught.value.detail
    assert name not in " ".join(backend.listed())
    wait_until(lambda: not backend.model_workers(), "its processes are gone")


def test_what_cannot_be_registered_is_refused_with_its_reason(backend: Backend) -> None:
    """No such model, an odd name, a second time, a number out of range."""
    with pytest.raises(ModelNotFound):
        backend.register("no-such-model")
    with pytest.raises(InvalidModel):
        backend.register("upper", name="../upper")
    with pytest.raises(InvalidModel):
        backend.register("upper", min_workers=-1)
    backend.register("upper")
    with pytest.raises(ModelExists):
        backend.register("upper")
    backend.unregister("upper")
    with pytest.raises(ModelNotFound):
        backend.unregister("upper")


def test_faces_are_hidden_by_unregistering_and_never_scaled(backend: Backend) -> None:
    """Their own method answers all the same."""
    assert "face_detection/1.0" in backend.listed()
    with pytest.raises(ModelConflict, match="FACET_WORKERS"):
        backend.manage(commands.Scale("face_detection", "", 3, 3))
    backend.unregister("face_detection")
    assert "face_detection/1.0" not in backend.listed()
    with ServiceClient(backend.address, timeout=60) as faces:
        assert len(faces.detect(ASTRONAUT.read_bytes()).faces) == 1
    backend.register("face_detection")


def test_scaling_changes_the_number_of_processes(backend: Backend) -> None:
    """Down to none, which answers MODEL_NOT_READY, and up again."""
    backend.register("upper")
    backend.manage(commands.Scale("upper", "", 3, 3))
    wait_until(lambda: len(backend.model_workers()) == 3, "three processes serve")
    backend.manage(commands.Scale("upper", "", 0, 0))
    assert backend.listed()["upper/1.0"] == "idle"
    with clients(backend.address, 1) as [client]:
        with pytest.raises(ModelNotReady):
            client.predict("upper", {"text": "a"})
        backend.manage(commands.Scale("upper", "", 1, 1))
        assert client.predict("upper", {"text": "a"})["text"] == "A"
    backend.unregister("upper")


def kill_one(backend: Backend) -> None:
    """End a model worker that serves, as soon as there is one."""

    def killed() -> bool:
        with contextlib.suppress(IndexError, ProcessLookupError):
            os.kill(backend.ready_model_workers()[0], signal.SIGKILL)
            return True
        return False

    wait_until(killed, "a model worker serves")


def test_nothing_is_lost_while_models_come_go_scale_and_die(backend: Backend) -> None:
    """Without a retry: over new versions, another default, scaling, kill -9 and refused loads."""
    backend.register("upper")
    stop = threading.Event()

    def ask() -> int:
        count = 0
        with clients(backend.address, 1) as [client]:
            while not stop.is_set():
                text = f"a{threading.get_ident()}{count}"  # no two are the same: a kill shall blame none
                assert client.predict("upper", {"text": text})["text"] == text.upper()
                count += 1
        return count

    workers = backend.workers()
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            for version in ("2.0", "3.0"):
                for count in (2, 4, 1, 2):
                    backend.manage(commands.Scale("upper", "", count, count))
                    kill_one(backend)
                with pytest.raises(ModelLoadFailed):
                    backend.register("load-raises")
                default = backend.default("upper")
                backend.register("upper", version=version)
                backend.manage(commands.SetDefault("upper", version))
                backend.unregister("upper", default)
        finally:
            stop.set()
        answered = [each.result() for each in asking]
    assert min(answered) > 0
    assert backend.workers() == workers
    backend.unregister("upper")


def test_what_was_acknowledged_is_there_after_a_sudden_end(tmp_path: Path, package: dict[str, str]) -> None:
    """A supervisor that is killed starts again with the models it had, and with nothing half."""
    with model_backend(tmp_path, **package) as running:
        running.register("upper", min_workers=2, max_workers=2)
        running.register("upper", version="2.0")
        running.register("wide")
        running.process.send(signal.SIGKILL)
        running.process.wait()
    with model_backend(tmp_path, **package) as running:
        wait_for_state(running, "upper/1.0", "ready")
        wait_for_state(running, "upper/2.0", "ready")
        wait_for_state(running, "wide/1.0", "ready")
        assert running.default("upper") == "1.0"
        assert set(running.listed()) == {"face_detection/1.0", "upper/1.0", "upper/2.0", "wide/1.0"}


def test_models_of_the_setting_are_there_when_the_backend_is_ready(
    tmp_path: Path, package: dict[str, str]
) -> None:
    """They hide everything else, and nothing is written down."""
    with model_backend(tmp_path, FACET_MODELS="upper,shouter=upper", **package) as running:
        assert running.listed() == {"upper/1.0": "ready", "shouter/1.0": "ready"}
        with clients(running.address, 1) as [client]:
            assert client.predict("shouter", {"text": "a"})["text"] == "A"
        assert not (running.state / "catalogue.json").exists()


def test_a_reload_replaces_model_workers_without_a_loss(backend: Backend) -> None:
    """One by one, as it does with workers."""
    backend.register("upper", min_workers=2, max_workers=2)
    before = backend.model_workers()
    # It calls again where its connection has ended with a worker in that very moment.
    with ServiceClient(backend.address, timeout=60) as client:
        backend.process.send(signal.SIGHUP)

        def replaced() -> bool:
            assert client.predict("upper", {"text": "a"})["text"] == "A"
            return not any(map(alive, before))

        wait_until(replaced, "the old ones are gone")


def test_model_workers_are_recycled_after_their_requests_and_nobody_notices(
    tmp_path: Path, package: dict[str, str]
) -> None:
    """As workers are: the new one is ready before the old one stops."""
    with (
        model_backend(tmp_path, FACET_MODELS="upper", FACET_RECYCLE_REQUESTS="20", **package) as running,
        clients(running.address, 1) as [client],
    ):
        [first] = running.model_workers()
        count = itertools.count()

        def recycled() -> bool:
            text = f"a{next(count)}"
            answer = client.predict("upper", {"text": text})
            return bool(answer["text"] == text.upper() and answer["pid"] != first)

        wait_until(recycled, "another process answers")
        assert running.process.wait_for("worker recycled", model="upper/")["worker"] == first
        wait_until(lambda: not alive(first), "the first one has ended")
        assert running.process.logged("worker crashed") == []


def test_the_processes_of_a_version_are_listed_under_its_name(
    tmp_path: Path, package: dict[str, str]
) -> None:
    """Also where only the model itself says which version it is."""
    with model_backend(tmp_path, FACET_MODELS="upper", FACET_WORKERS="1", **package) as running:
        groups = [group["name"] for group in running.manage(commands.Status())["groups"]]
        [version] = [key for key in running.listed() if key.startswith("upper/")]
        assert (version[-1] != "/", version in groups) == (True, True)


def test_clients_of_the_published_contracts_are_served(tmp_path: Path) -> None:
    """By stubs generated from the published text alone."""
    script = str(ROOT / "tests/support/published_clients.py")
    with model_backend(tmp_path, FACET_MODELS="echo") as running:
        command = [sys.executable, script, "many_models", running.address]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    assert answer["said"] == "a word"
    [model] = answer["models"]
    assert model["qualified_name"] == "echo"
    assert model["predict_operation"] == "echo_predict"


def test_the_deadline_of_a_call_holds_for_models_too(backend: Backend) -> None:
    """It is over long before its process would count as hung, which goes on for others."""
    backend.register("slow", name="slow", response_timeout=50.0)
    picture = base64.b64encode(b"123").decode()
    with clients(backend.address, 1) as [client]:
        before = backend.model_workers()
        with pytest.raises(DeadlineExceeded):
            client.predict("slow", {"image": picture}, timeout=0.2)
        assert client.predict("slow", {"image": picture}) == {"class_id": 3}
        assert backend.model_workers() == before
