"""Rules of a version whose contents in the store change while it is served: real processes, real graphs."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from inference_server.catalogue import commands
from tests.support import model_store, onnx_models
from tests.support.model_backend import Backend, clients, model_backend, wait_for_state
from tests.support.model_package import installed
from tests.support.processes import alive, wait_until
from utils.errors import InvalidModel, ModelConflict, ModelLoadFailed

WAITS = '''
import time
from pathlib import Path

from facet_serving import Model
from pydantic import BaseModel


class Waits(Model):
    """Says what the file in its folder says; hangs while it loads where that is nothing."""

    name, version = "waits", "1.0"

    class Input(BaseModel):
        text: str = ""

    class Output(BaseModel):
        text: str

    def load(self, folder, options):
        self.text = Path(folder, "text").read_text()
        while not self.text:
            time.sleep(1)

    def predict(self, inputs):
        return [{"text": self.text} for _ in inputs]
'''


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the class is installed."""
    return installed(tmp_path_factory.mktemp("package"), "waiting", WAITS, {})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, package: dict[str, str]) -> Iterator[Backend]:
    """One that tests leave as they found it."""
    with model_backend(tmp_path_factory.mktemp("backend"), **package) as running:
        yield running


@pytest.fixture
def backend(shared: Backend) -> Iterator[Backend]:
    """The same; no test finds the models of one that has failed."""
    yield shared
    shared.clear()


@pytest.fixture
def folder(backend: Backend, request: pytest.FixtureRequest) -> Path:
    """Of a version, whose name is that of the test, that doubles numbers."""
    store = backend.state.parent / "store"
    name = request.node.originalname[:64]
    return times(model_store.add_version(store, f"{name}/1.0", 'kind = "onnx"\n'), 2)


def times(folder: Path, factor: float, output: str = "y") -> Path:
    """Put a graph of `output` = factor x into a folder, as a whole, as operators should."""
    made = onnx_models.save(
        folder / ".new",
        [helper.make_node("Mul", ["x", "factor"], [output])],
        [onnx_models.tensor("x", ["batch", 3])],
        [onnx_models.tensor(output, ["batch", 3])],
        factor=np.array([factor], np.float32),
    )
    (made / "model.onnx").replace(folder / "model.onnx")
    made.rmdir()
    return folder


def name_of(folder: Path) -> str:
    """Of the model in a folder of the store."""
    return folder.parent.name


def reload(backend: Backend, name: str) -> dict[str, Any]:
    """Reload a model."""
    return backend.manage(commands.Reload(name))


def told(backend: Backend, name: str) -> dict[str, Any]:
    """What operators are told of a model."""
    [described] = backend.manage(commands.DescribeModel(name))["models"]
    assert isinstance(described, dict)
    return described


def pids(described: dict[str, Any]) -> set[int]:
    """Of its processes."""
    return {process["pid"] for process in described["processes"]}


def served(backend: Backend, folder: Path) -> float:
    """By what the model of a folder multiplies."""
    with clients(backend.address, 1) as [client]:
        answer: float = client.predict(name_of(folder), {"x": [1, 1, 1]})["y"][0]
    return answer


class Load:
    """Clients that call a model without end, and try nothing again: a failure ends the test."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self._backend, self._name = backend, name_of(folder)
        self._stop = threading.Event()
        self.answers: list[float] = []

    def __enter__(self) -> "Load":
        self._pool = ThreadPoolExecutor(4)
        self._asking = [self._pool.submit(self._ask) for _ in range(4)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for asking in self._asking:
            asking.result()

    def _ask(self) -> None:
        with clients(self._backend.address, 1) as [client]:
            while not self._stop.is_set():
                self.answers.append(client.predict(self._name, {"x": [1, 1, 1]})["y"][0])

    def goes_on(self) -> list[float]:
        """The answers to some calls that began after this was called."""
        begun = len(self.answers) + 4  # each of the four clients may wait for one that began before
        wait_until(lambda: len(self.answers) >= begun + 40, "calls are answered")
        return self.answers[begun:]


def test_a_graph_is_replaced_under_load_and_no_call_fails(backend: Backend, folder: Path) -> None:
    """After the answer all calls are answered by the new one, for no process of before is left."""
    backend.register(name_of(folder), min_workers=2)
    wait_until(lambda: told(backend, name_of(folder))["ready_workers"] == 2, "both serve")
    before = told(backend, name_of(folder))
    with Load(backend, folder) as load:
        assert set(load.goes_on()) == {2.0}
        times(folder, 3)
        after = reload(backend, name_of(folder))
        assert set(load.goes_on()) == {3.0}
    assert set(load.answers) == {2.0, 3.0}
    assert (after["state"], after["ready_workers"], after["failure"]) == ("ready", 2, "")
    assert not pids(before) & pids(after)
    assert not any(map(alive, pids(before)))


def broken(folder: Path) -> None:
    """Its graph is none."""
    (folder / "model.onnx").write_bytes(b"no graph")


def of_another_schema(folder: Path) -> None:
    """What clients read is gone."""
    times(folder, 3, output="z")


def without_its_file(folder: Path) -> None:
    """There is no graph."""
    (folder / "model.onnx").unlink()


def with_a_key_that_there_is_not(folder: Path) -> None:
    """Its description is none."""
    (folder / "model.toml").write_text('kind = "onnx"\nfactor = 3\n')


@pytest.mark.security(
    endpoint="files",
    attack="A model's files replaced, while it serves, by what cannot be loaded",
    outcome="All calls are answered as before; the error has no path",
)
@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        (broken, InvalidModel, "model.onnx"),
        (of_another_schema, InvalidModel, "y of .*_output was removed"),
        (without_its_file, InvalidModel, "model.onnx"),
        (with_a_key_that_there_is_not, InvalidModel, "'factor' is no key of the kind onnx"),
    ],
)
def test_what_cannot_be_served_changes_nothing(
    backend: Backend, folder: Path, change: Callable[[Path], None], kind: type[Exception], reason: str
) -> None:
    """The same processes answer as before, and the caller is told why, without a path."""
    before = backend.register(name_of(folder))
    with Load(backend, folder) as load:
        change(folder)
        with pytest.raises(kind, match=reason) as caught:
            reload(backend, name_of(folder))
        assert set(load.goes_on()) == {2.0}
    assert set(load.answers) == {2.0}
    assert str(folder) not in str(caught.value)
    after = told(backend, name_of(folder))
    wait_until(lambda: pids(told(backend, name_of(folder))) == pids(before), "nothing new is left")
    assert (after["state"], after["settings"]) == ("ready", before["settings"])


def test_what_has_not_changed_is_not_loaded_again(backend: Backend, folder: Path) -> None:
    """The answer is that of the version, at once."""
    before = backend.register(name_of(folder))
    assert pids(reload(backend, name_of(folder))) == pids(before)


def test_another_description_is_taken_over_but_for_what_operators_have_decided(
    backend: Backend, folder: Path
) -> None:
    """And is remembered."""
    backend.register(name_of(folder), nice=3)
    (folder / "model.onnx").replace(folder / "other.onnx")
    (folder / "model.toml").write_text('kind = "onnx"\nfile = "other.onnx"\nnice = 5\nmax_batch = 7\n')
    settings = reload(backend, name_of(folder))["settings"]
    assert (settings["nice"], settings["max_batch"]) == (3, 7)
    assert served(backend, folder) == 2.0
    assert "other.onnx" in (backend.state / "catalogue.json").read_text()


def test_an_idle_version_takes_over_what_it_is_loaded_from_next(backend: Backend, folder: Path) -> None:
    """Nothing runs until it is scaled."""
    backend.register(name_of(folder), min_workers=0)
    times(folder, 3)
    (folder / "model.onnx").replace(folder / "other.onnx")
    (folder / "model.toml").write_text('kind = "onnx"\nfile = "other.onnx"\n')
    assert reload(backend, name_of(folder))["state"] == "idle"
    backend.manage(commands.Scale(name_of(folder)))
    assert served(backend, folder) == 3.0


def test_a_failed_version_is_tried_again_at_once(backend: Backend, folder: Path) -> None:
    """By an operator who has mended its files; one who has not is told so."""
    name = name_of(folder)
    [process] = backend.register(name)["processes"]
    broken(folder)
    os.kill(process["pid"], signal.SIGKILL)
    wait_for_state(backend, f"{name}/1.0", "failed")
    with pytest.raises(InvalidModel):
        reload(backend, name)
    assert told(backend, name)["state"] == "failed"
    times(folder, 3)
    assert reload(backend, name)["state"] == "ready"
    assert served(backend, folder) == 3.0


# --- while one loads ---


def waiting(backend: Backend, name: str, startup_timeout: float = 60) -> Path:
    """Register a model that says `old`, and give the file in which what it says can be changed."""
    toml = 'kind = "python"\nclass = "waiting:Waits"\n'
    text = model_store.add_version(backend.state.parent / "store", f"{name}/1.0", toml) / "text"
    text.write_text("old")
    backend.register(name, startup_timeout=startup_timeout)
    return text


def begun(backend: Backend, pool: ThreadPoolExecutor, name: str) -> "Future[dict[str, Any]]":
    """A reload whose new process has been started."""
    before = len(told(backend, name)["processes"])
    reloading = pool.submit(reload, backend, name)
    wait_until(lambda: len(told(backend, name)["processes"]) > before, "a new process loads")
    return reloading


def says(backend: Backend, name: str) -> object:
    """What a model that waits says."""
    with clients(backend.address, 1) as [client]:
        return client.predict(name, {})["text"]


def test_a_load_that_hangs_ends_with_its_time(backend: Backend) -> None:
    """The process of before serves, and the next reload succeeds."""
    text = waiting(backend, "hangs", startup_timeout=5)
    text.write_text("")
    with pytest.raises(ModelLoadFailed):
        reload(backend, "hangs")
    assert says(backend, "hangs") == "old"
    text.write_text("new")
    reload(backend, "hangs")
    assert says(backend, "hangs") == "new"


def test_of_two_reloads_at_once_both_get_what_is_there_at_last(backend: Backend) -> None:
    """The first is not waited for: what it loads is not wanted any more."""
    text = waiting(backend, "twice")
    text.write_text("")
    with ThreadPoolExecutor(2) as pool:
        first = begun(backend, pool, "twice")
        with pytest.raises(ModelConflict):
            backend.manage(commands.Scale("twice", "", 2))
        text.write_text("new")
        second = pool.submit(reload, backend, "twice")
        assert second.result()["ready_workers"] == first.result()["ready_workers"] == 1
    assert says(backend, "twice") == "new"


def test_a_version_that_is_unregistered_is_not_reloaded(backend: Backend) -> None:
    """Nothing of it is left."""
    text = waiting(backend, "leaves")
    text.write_text("")
    with ThreadPoolExecutor(1) as pool:
        reloading = begun(backend, pool, "leaves")
        processes = pids(told(backend, "leaves"))
        backend.unregister("leaves")
        with pytest.raises(ModelConflict):
            reloading.result()
    wait_until(lambda: not any(map(alive, processes)), "its processes have ended")


def test_a_supervisor_that_is_killed_leaves_what_can_be_loaded(
    tmp_path: Path, package: dict[str, str]
) -> None:
    """What the next one serves is one version, as a whole."""
    with model_backend(tmp_path, **package) as first, ThreadPoolExecutor(1) as pool:
        text = waiting(first, "survives")
        text.write_text("")
        reloading = begun(first, pool, "survives")
        os.kill(first.process.pid, signal.SIGKILL)
        assert reloading.exception() is not None
    text.write_text("new")
    with model_backend(tmp_path, **package) as second:
        wait_for_state(second, "survives/1.0", "ready")
        assert says(second, "survives") == "new"
