"""Rules of changes over HTTP that meet each other, a store that is still written, or a full disk."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from onnx import helper

from tests.support import onnx_models
from tests.support.admin import Answer, Managed, managed
from tests.support.model_backend import clients
from tests.support.model_store import add_version
from tests.support.processes import PATIENCE, alive, wait_until

_PIECES = 2
_NUMBERS = count()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """A backend whose models are those of one test at a time."""
    with managed(tmp_path_factory.mktemp("admin")) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_left(served: Managed) -> Iterator[None]:
    """No test finds the models of one that has failed."""
    yield
    served.backend.clear()


@pytest.fixture
def folder(served: Managed) -> Path:
    """The folder of a version of a graph, whole, in the store; its parent has the model's name."""
    store = served.backend.state.parent / "store"
    made = add_version(store, f"graph{next(_NUMBERS)}/1.0", 'kind = "onnx"\nmax_batch = 4\n')
    shapes = [onnx_models.tensor(one, ["batch", "length"]) for one in "xy"]
    return onnx_models.save(made, [helper.make_node("Identity", ["x"], ["y"])], shapes[:1], shapes[1:])


def register(served: Managed, name: str, **members: object) -> Answer:
    """Register a model."""
    return served.ask("POST", "/models", {"url": name, **members})


@pytest.mark.parametrize(
    ("file", "reasons"),
    [
        ("model.toml", {"INVALID_MODEL"}),
        ("model.onnx", {"INVALID_MODEL", "MODEL_LOAD_FAILED"}),
    ],
)
def test_a_folder_that_is_still_written_is_refused_until_it_is_whole(
    served: Managed, folder: Path, file: str, reasons: set[str]
) -> None:
    """With the reason, and without the path; each time nothing is left."""
    path, name = folder / file, folder.parent.name
    content = path.read_bytes()
    for piece in range(_PIECES):
        path.write_bytes(content[: piece * len(content) // _PIECES + 1])
        refused = register(served, name)
        assert refused.status in {400, 500}
        assert refused.json["reason"] in reasons
        assert str(folder.parent) not in refused.json["detail"]
        assert list(served.backend.listed()) == ["face_detection/1.0"]
        assert served.backend.model_workers() == []
    path.write_bytes(content)
    made = register(served, name)
    assert (made.status, made.json["state"]) == (201, "ready")
    with clients(served.backend.address, 1) as [client]:
        assert client.predict(name, {"x": [1.5, 2]}) == {"y": [1.5, 2]}


def test_a_version_that_is_unregistered_amid_its_scaling_is_gone(served: Managed) -> None:
    """Both are answered, and no process is left of it; it may come again at once."""
    for least, most in ((1, 4), (0, 1)):
        register(served, "echo", settings={"min_workers": least, "max_workers": 4})
        with ThreadPoolExecutor(1) as threads:
            scaling = threads.submit(served.ask, "PUT", "/models/echo", {"min_workers": most})
            wait_until(lambda most=most: _wanted(served) in {most, None}, "it is scaled")  # type: ignore[misc]
            pids = served.backend.model_workers()
            assert served.ask("DELETE", "/models/echo").status == 200
            scaled = scaling.result(PATIENCE)
        assert scaled.status == 200 or scaled.problem[:2] in {
            (409, "MODEL_CONFLICT"),
            (404, "MODEL_NOT_FOUND"),
        }
        assert list(served.backend.listed()) == ["face_detection/1.0"]
        wait_until(lambda pids=pids: not any(map(alive, pids)), "its processes are gone")  # type: ignore[misc]
        assert [group["name"] for group in served.status()["groups"]] == ["workers", "admin"]
    assert register(served, "echo").status == 201


def _wanted(served: Managed) -> int | None:
    """How many processes the echo shall have."""
    models = served.ask("GET", "/models").json["models"]
    return next((one["workers"] for one in models if one["name"] == "echo"), None)


def test_what_cannot_be_written_down_is_refused_and_what_was_is_served(served: Managed) -> None:
    """By each change; when there is room again, it is made."""
    register(served, "echo")
    changes: list[tuple[str, str, object]] = [
        ("POST", "/models", {"url": "echo", "name": "other"}),
        ("PUT", "/models/echo", {"min_workers": 2}),
        ("PUT", "/models/echo/default", {"version": "1.0"}),
        ("PUT", "/models/echo/traffic", {"1.0": 100}),
        ("DELETE", "/models/echo", None),
    ]
    with blocked(served.backend.state / "catalogue.json.new"):  # where the next state would be written
        for change in changes:
            assert served.ask(*change).problem == (409, "STATE_NOT_WRITABLE", None)
        assert served.backend.listed() == {"face_detection/1.0": "ready", "echo/1.0": "ready"}
        assert len(served.processes("echo/1.0")) == 1
        with clients(served.backend.address, 1) as [client]:
            assert client.predict("echo", {"text": "a"}) == {"text": "a"}
    assert [served.ask(*change).status for change in changes] == [201, 200, 200, 200, 200]


@contextlib.contextmanager
def blocked(path: Path) -> Iterator[None]:
    """No file can be written there."""
    path.mkdir()
    try:
        yield
    finally:
        path.rmdir()
