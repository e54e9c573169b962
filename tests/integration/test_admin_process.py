"""Rules of the admin process as a child of the supervisor: it may die, hang and be replaced at any time."""

import contextlib
import os
import signal
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.admin import Managed, connection, managed
from tests.support.keys import KeyFile, bearer
from tests.support.model_backend import clients
from tests.support.model_package import ODD_ENTRY_POINTS, ODD_MODELS, installed
from tests.support.processes import PATIENCE, alive, running, wait_until
from utils.api_keys import MANAGE
from utils.errors import FacetError

COMMAND = [sys.executable, "-m", "inference_server"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """A backend whose admin process tests may end, as long as another one takes its place."""
    with managed(tmp_path_factory.mktemp("admin")) as made:
        yield made


@contextlib.contextmanager
def load(address: str) -> Iterator[list[int]]:
    """Calls of a model by four connections, each once and never again; gives how many were answered."""
    answered, errors, stop = [0] * 4, [], threading.Event()

    def call(place: int, client: object) -> None:
        while not stop.is_set():
            try:
                client.predict("echo", {"text": "a"})  # type: ignore[attr-defined]
            except FacetError as error:
                errors.append(error)
            answered[place] += 1

    with clients(address, 4) as made:
        threads = [threading.Thread(target=call, args=each) for each in enumerate(made)]
        for thread in threads:
            thread.start()
        try:
            yield answered
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE)
    assert errors == []


def test_its_death_touches_no_request_and_another_takes_its_place(served: Managed) -> None:
    """Under load; and those who ask meanwhile wait instead of being refused."""
    served.ask("POST", "/models", {"url": "echo"})
    with load(served.backend.address) as answered:
        for _ in range(2):
            pid, before = served.pid(), sum(answered)
            os.kill(pid, signal.SIGKILL)
            assert served.ask("GET", "/healthz").status == 200
            assert served.pid() != pid
            wait_until(lambda before=before: sum(answered) > before + 20, "calls are answered")  # type: ignore[misc]
    served.ask("DELETE", "/models/echo")
    assert not served.backend.process.logged("requeued")


def test_one_that_hangs_is_replaced(served: Managed) -> None:
    """Though its process lives."""
    pid = served.pid()
    os.kill(pid, signal.SIGSTOP)
    assert served.ask("GET", "/healthz").status == 200
    wait_until(lambda: not alive(pid), "it was killed")
    assert served.pid() != pid
    assert any(line["worker"] == pid for line in served.backend.process.logged("worker hung"))


def test_a_reload_replaces_it_and_nobody_is_refused(served: Managed) -> None:
    """The new one is ready before the old one is told to stop."""
    pid = served.pid()
    served.backend.process.send(signal.SIGHUP)
    while served.ask("GET", "/healthz").status == 200 and alive(pid):
        pass
    assert not alive(pid)
    assert served.ask("GET", "/healthz").status == 200


def test_who_asks_again_and_again_by_one_connection_holds_up_no_reload(served: Managed) -> None:
    """The answer after it is the connection's last, and says so; the next one is the new process's."""
    pid, closed = served.pid(), False
    with contextlib.closing(connection(served.address)) as kept:
        served.backend.process.send(signal.SIGHUP)
        while alive(pid):
            kept.request("GET", "/healthz")
            response = kept.getresponse()
            assert response.read()
            assert response.status == 200
            closed |= response.getheader("Connection") == "close"
    assert closed


def test_a_change_that_is_waited_for_is_answered_by_the_one_that_is_replaced(served: Managed) -> None:
    """Such as one that waits for the requests of a model; it goes when it has answered."""
    served.ask("POST", "/models", {"url": "echo"})
    pid, inputs = served.pid(), {"text": "a", "sleep_seconds": 1}
    with clients(served.backend.address, 2) as made, ThreadPoolExecutor(3) as threads:
        calls = [threads.submit(client.predict, "echo", inputs) for client in made]
        wait_until(lambda: served.status()["models"][-1]["waiting"] > 0, "requests wait")
        change = threads.submit(served.ask, "DELETE", "/models/echo")
        wait_until(lambda: "echo/1.0" not in served.backend.listed(), "the change is made")
        os.kill(pid, signal.SIGTERM)
        served.wait_for_another(pid)
        assert change.result(PATIENCE).status == 200
        assert [call.result(PATIENCE)["text"] for call in calls] == ["a", "a"]
    wait_until(lambda: not alive(pid), "the old one has ended")


def test_it_dies_with_the_supervisor(tmp_path: Path) -> None:
    """However that ended."""
    with managed(tmp_path) as served:
        pid = served.pid()
        served.backend.process.send(signal.SIGKILL)
        wait_until(lambda: not alive(pid), "the admin process has ended")


def test_it_ends_last_so_that_a_drain_can_be_watched(tmp_path: Path) -> None:
    """It answers while workers finish what they have; a second drain changes nothing."""
    path = f"unix:{tmp_path / 'admin.sock'}"
    with managed(tmp_path, FACET_ADMIN_ADDRESS=path, FACET_DRAIN_SECONDS="1") as served:
        served.ask("POST", "/models", {"url": "echo"})
        with clients(served.backend.address, 1) as [client]:
            began = threading.Thread(
                target=client.predict, args=("echo", {"text": "a", "sleep_seconds": 0.5})
            )
            began.start()
            wait_until(lambda: served.processes("echo/1.0") != [], "it is there")
            for _ in range(2):
                answer = served.ask("POST", "/drain")
                assert (answer.status, answer.json) == (202, {"state": "stopping"})
            assert served.status()["state"] == "stopping"
            began.join(PATIENCE)
        assert served.backend.process.wait() == 0
        ended = [line.get("process") for line in served.backend.process.logged("worker ended")]
        assert ended[-1] == "admin"
        assert not served.backend.process.logged("stopping now")
        assert not Path(tmp_path / "admin.sock").exists()


def test_a_change_that_is_never_made_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Who waits for it is told that the backend has ended."""
    (tmp_path / "package").mkdir()
    package = installed(tmp_path / "package", "odd_models", ODD_MODELS, ODD_ENTRY_POINTS)
    with managed(tmp_path, **package) as served, ThreadPoolExecutor(1) as threads:
        change = threads.submit(served.ask, "POST", "/models", {"url": "load-hangs"})
        wait_until(lambda: len(served.status()["models"]) == 2, "it loads")
        served.ask("POST", "/drain", {})
        assert change.result(PATIENCE).problem == (503, "BACKEND_UNAVAILABLE", None)
        assert served.backend.process.wait() == 0
        ended = served.backend.process.logged("worker ended")[-1]
        assert (ended["process"], ended["how"]) == ("admin", "exited with 0")


@pytest.mark.security(
    endpoint="admin-http",
    attack="Another user of the machine, where the management listens at a socket file",
    outcome="The file is its owner's alone; a second backend does not take it from the first",
)
def test_a_socket_file_is_its_owners_alone(tmp_path: Path) -> None:
    """And one of a backend that was killed is replaced; one that somebody listens at is not."""
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(path))
    with managed(tmp_path, FACET_ADMIN_ADDRESS=f"unix:{path}") as served:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert served.ask("GET", "/healthz").json == {"status": "ok"}
        with running(COMMAND, FACET_GRPC_ADDRESS="127.0.0.1:0", FACET_ADMIN_ADDRESS=f"unix:{path}") as second:
            assert second.wait() == 1
            assert f"FACET_ADMIN_ADDRESS is unix:{path}, which cannot be used: somebody" in second.lines[-1]
        assert served.ask("GET", "/healthz").status == 200


def test_an_address_that_others_have_stops_the_start(served: Managed, tmp_path: Path) -> None:
    """The last line names the setting, and what to do. Keys that others may use stay what they are."""
    keys = tmp_path / "keys.json"
    keys.write_text("{}")
    environ = {
        "FACET_GRPC_ADDRESS": "127.0.0.1:0",
        "FACET_ADMIN_ADDRESS": served.address,
        "FACET_TORCHSERVE_KEY_FILE": str(keys),
    }
    with running(COMMAND, **environ) as second:
        assert second.wait() == 1
        assert second.lines[-1] == (
            f"inference_server: FACET_ADMIN_ADDRESS is {served.address}, which cannot be used: Address "
            "already in use. Stop what has it, or set FACET_ADMIN_ADDRESS to another address."
        )
    assert keys.read_text() == "{}"


@pytest.mark.security(
    endpoint="keys",
    attack=(
        "The management over HTTP, gRPC and by TorchServe's protocols at an address that others can "
        "reach, without keys"
    ),
    outcome="The start ends",
)
@pytest.mark.parametrize(
    ("setting", "needed"),
    [
        ("FACET_ADMIN_ADDRESS", "FACET_API_KEYS_FILE"),
        ("FACET_ADMIN_GRPC_ADDRESS", "FACET_API_KEYS_FILE or FACET_TLS_CLIENT_CA_FILE"),
        (
            "FACET_TORCHSERVE_MANAGEMENT_ADDRESS",
            "FACET_API_KEYS_FILE or FACET_TORCHSERVE_KEY_FILE or FACET_TLS_CLIENT_CA_FILE",
        ),
        ("FACET_TORCHSERVE_HTTP_MANAGEMENT_ADDRESS", "FACET_API_KEYS_FILE or FACET_TORCHSERVE_KEY_FILE"),
    ],
)
def test_an_address_that_others_can_reach_needs_a_key(setting: str, needed: str) -> None:
    """Or else the start fails."""
    environ = {
        "FACET_GRPC_ADDRESS": "127.0.0.1:0",
        "FACET_ADMIN_ADDRESS": "127.0.0.1:0",
        setting: "0.0.0.0:0",
    }
    with running(COMMAND, **environ) as process:
        assert process.wait() == 1
        assert setting in process.lines[-1]
        assert f"accepted without {needed}: a loopback address" in process.lines[-1]


@pytest.mark.parametrize(
    "setting",
    [
        "FACET_ADMIN_GRPC_ADDRESS",
        "FACET_TORCHSERVE_MANAGEMENT_ADDRESS",
        "FACET_TORCHSERVE_HTTP_MANAGEMENT_ADDRESS",
    ],
)
def test_without_an_admin_process_it_has_no_other_address(setting: str) -> None:
    """The start fails rather than that nobody listens there."""
    environ = {"FACET_GRPC_ADDRESS": "127.0.0.1:0", "FACET_ADMIN_ADDRESS": "", setting: "127.0.0.1:0"}
    with running(COMMAND, **environ) as process:
        assert process.wait() == 1
        assert f"{setting} is set, and FACET_ADMIN_ADDRESS is empty" in process.lines[-1]


@pytest.mark.security(
    endpoint="keys",
    attack="A file of keys that is damaged, gone, of another format, or that others can use",
    outcome="The start ends with a line that says why",
)
def test_keys_that_are_none_stop_the_start(tmp_path: Path) -> None:
    """A file that is not there, is damaged, of another format, or that others can use."""
    path = tmp_path / "keys.json"
    environ = {"FACET_GRPC_ADDRESS": "127.0.0.1:0", "FACET_ADMIN_ADDRESS": "127.0.0.1:0"}
    for content, mode, why in (
        (None, 0, "No such file"),
        ("", 0o600, "it is damaged"),
        ('{"format": 2, "keys": []}', 0o600, "it is of format 2; accepted: 1"),
        ('{"format": 1, "keys": []}', 0o604, "others than its owner and group can use it"),
    ):
        if content is not None:
            path.write_text(content)
            path.chmod(mode)
        with running(COMMAND, **environ, FACET_API_KEYS_FILE=str(path)) as process:
            assert process.wait() == 1
            assert f"FACET_API_KEYS_FILE is {path}: " in process.lines[-1]
            assert why in process.lines[-1]


def test_with_keys_other_addresses_are_served(tmp_path: Path) -> None:
    """By the names that FACET_ADMIN_HOSTS has."""
    keys = KeyFile(tmp_path)
    token = bearer(keys.add("operators", MANAGE))
    environ = {"FACET_ADMIN_ADDRESS": "0.0.0.0:0", "FACET_ADMIN_HOSTS": "facet.example"}
    with managed(tmp_path, **environ, **keys.environ) as served:
        assert served.ask("GET", "/models", headers=token | {"Host": "facet.example:80"}).status == 200
        refused = served.ask("GET", "/models", headers=token | {"Host": "other.example"})
        assert refused.problem == (403, "REQUEST_REFUSED", "Host")


def test_without_an_address_there_is_no_process() -> None:
    """And no endpoint by gRPC, either."""
    environ = {"FACET_GRPC_ADDRESS": "127.0.0.1:0", "FACET_WORKERS": "1", "FACET_ADMIN_ADDRESS": ""}
    with running(COMMAND, **environ) as process:
        assert "admin_address" not in process.wait_for("ready")
        assert len(process.children()) == 1
    with running(COMMAND, **environ, FACET_ADMIN_GRPC_ADDRESS="127.0.0.1:0") as process:
        assert process.wait() == 1
        assert "FACET_ADMIN_ADDRESS is empty" in process.lines[-1]


def test_a_log_level_is_that_of_all_processes(served: Managed) -> None:
    """Of those that are there, and of those that come later."""
    assert served.ask("GET", "/log-level").json == {"level": "INFO"}
    for refused in ({"level": "debug"}, {"level": 3}, {"levels": "DEBUG"}, {}):
        assert served.ask("PUT", "/log-level", refused).problem[:2] == (400, "MALFORMED_REQUEST")
    assert served.ask("PUT", "/log-level", {"level": "ERROR"}).json == {"level": "ERROR"}
    with clients(served.backend.address, 4) as made:
        before = len(served.backend.process.logged("request"))
        for client in made:
            with pytest.raises(FacetError):
                client.predict("nobody", {})
        assert len(served.backend.process.logged("request")) == before
    assert served.ask("PUT", "/log-level", {"level": "DEBUG"}).status == 200
    os.kill(served.pid(), signal.SIGKILL)
    assert served.ask("GET", "/log-level").json == {"level": "DEBUG"}
    pid = served.pid()
    told = served.backend.process
    wait_until(
        lambda: any(
            (one["pid"], one["level"]) == (pid, "debug") for one in told.logged("management request")
        ),
        "a line of the new process at DEBUG",
    )
    served.ask("PUT", "/log-level", {"level": "INFO"})
