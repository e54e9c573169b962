"""Rules of the limits of keys over several processes of a gateway."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.fake_backend import Backend
from tests.support.gateway_process import Gateway, errors_of, gateway
from tests.support.keys import KeyFile
from tests.support.model_backend import COMMAND
from tests.support.processes import running, wait_until
from utils.api_keys import PREDICT

BURST = 60


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    """Those that are demanded."""
    return KeyFile(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def secrets(keys: KeyFile) -> list[str]:
    """Of keys that may make so many requests at once, and then one each 100 s."""
    return [keys.add(f"shop-{number}", PREDICT, rate=0.01, burst=BURST) for number in range(2)]


@pytest.fixture(scope="module")
def four(backend: Backend, keys: KeyFile, secrets: list[str]) -> Iterator[Gateway]:
    """A gateway of four processes."""
    assert secrets
    with gateway(backend.target, FACET_HTTP_WORKERS="4", **keys.environ) as running:
        wait_until(lambda: len(running.workers()) == 4, "all processes are there")
        yield running


def statuses(four: Gateway, secret: str, count: int) -> list[int]:
    """What so many requests are answered, each over a connection of its own; 0 where one was cut off."""

    def ask(_: int) -> int:
        try:
            return four.predict(Authorization=f"Bearer {secret}").status
        except OSError:
            return 0

    with ThreadPoolExecutor(8) as threads:
        return [*threads.map(ask, range(count))]


@pytest.mark.security(
    endpoint="keys",
    attack="One key at four processes of a gateway, to have four limits",
    outcome="At most one request more than its burst is answered",
)
def test_a_limit_is_one_for_all_processes(four: Gateway, secrets: list[str]) -> None:
    """Whichever of them a connection comes to; all that are let in are answered."""
    told = statuses(four, secrets[0], 3 * BURST)
    assert {*told} == {200, 429}
    assert BURST <= told.count(200) <= BURST + 1

    def several_are_asked() -> bool:
        statuses(four, secrets[0], 8)
        lines = four.process.logged("request")
        return len({line["pid"] for line in lines if line.get("key") == "shop-0"}) > 1

    wait_until(several_are_asked, "requests have come to more than one process")


@pytest.mark.security(
    endpoint="keys",
    attack="Processes of a gateway that are killed while they count requests",
    outcome="What was counted stays, and no lock does",
)
def test_processes_that_are_killed_take_no_count_along(four: Gateway, secrets: list[str]) -> None:
    """Nor a lock: what they have counted stays, and the others go on."""
    half = statuses(four, secrets[1], BURST // 2)
    assert {*half} == {200}
    for pid in four.workers()[:3]:
        os.kill(pid, signal.SIGKILL)
    told = statuses(four, secrets[1], 2 * BURST)
    # Those that were cut off may have been counted.
    assert BURST - told.count(0) <= BURST // 2 + told.count(200) <= BURST + 1
    assert four.predict(Authorization=f"Bearer {secrets[1]}").status == 429
    wait_until(lambda: len(four.workers()) == 4, "they are replaced")
    assert four.predict(Authorization=f"Bearer {secrets[1]}").status == 429
    assert [line for line in errors_of(four) if "Perhaps out of memory" not in line] == []


@pytest.mark.security(
    endpoint="keys",
    attack="A gateway at an address that others can reach, without keys",
    outcome="It starts with a warning that names what is open",
)
def test_callers_are_told_of_what_is_open_where_others_can_connect(backend: Backend, tmp_path: Path) -> None:
    """In one line, and in none where keys are demanded of all that others can reach."""
    everywhere = {"FACET_HTTP_ADDRESS": "0.0.0.0:0", "FACET_TORCHSERVE_HTTP_ADDRESS": "127.0.0.1:0"}
    keys = KeyFile(tmp_path)
    for environ, warned in (({}, 1), (keys.environ, 0), (keys.for_managers(), 1)):
        with gateway(backend.target, **everywhere, **environ) as made:
            lines = made.process.logged("open to whoever can connect")
            assert len(lines) == warned
            for line in lines:
                assert (line["level"], line["http_address"]) == ("warning", made.ready["http_address"])
                assert "torchserve_http_address" not in line


@pytest.mark.security(
    endpoint="keys",
    attack="A backend at addresses that others can reach, without keys or with TorchServe's alone",
    outcome="It starts with a warning that names what is open",
)
def test_a_backend_says_what_of_it_is_open(tmp_path: Path) -> None:
    """As a gateway does; its management it does not open to others."""
    keys = KeyFile(tmp_path)
    everywhere = {
        "FACET_GRPC_ADDRESS": "0.0.0.0:0",
        "FACET_TORCHSERVE_ADDRESS": "0.0.0.0:0",
        "FACET_WORKERS": "1",
    }
    tokens = {"FACET_TORCHSERVE_KEY_FILE": str(tmp_path / "key_file.json")}
    for environ, named in (
        ({}, ["grpc_address", "torchserve_address"]),
        (tokens, ["grpc_address"]),
        (keys.environ, []),
    ):
        with running(COMMAND, **everywhere, **environ) as process:
            process.wait_for("ready")
            lines = process.logged("open to whoever can connect")
            assert [name for line in lines for name in line if name.endswith("_address")] == named
