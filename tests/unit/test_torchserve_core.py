"""Rules of TorchServe's management over the supervisor's commands, whatever carries it."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from inference_server.admin.supervisor_client import MOST_LONG
from inference_server.admin.torchserve import TorchServeManagement
from inference_server.admin.torchserve_documents import settings_of
from inference_server.admin.torchserve_urls import ModelUrls, Registration
from inference_server.catalogue.commands import (
    Command,
    DescribeModel,
    ListModels,
    Register,
    Scale,
    SetDefault,
    Status,
    Unregister,
)
from inference_server.catalogue.model_settings import ModelSettings
from inference_server.catalogue.store import Store
from tests.support.model_store import add_version
from tests.support.processes import PATIENCE, wait_until
from utils.errors import (
    FacetError,
    InvalidModel,
    ModelApiDisabled,
    ModelExists,
    ModelLoadFailed,
    ModelNotFound,
    TooManyChanges,
    TooManyModels,
)

NOT_STARTED = "Failed to start workers for model m version: 2.0"
ALLOWED = [r"file://.*", r"http(s)?://.*"]


def described(name: str, version: str = "1.0", **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """A version as the supervisor describes it."""
    settings = {field: getattr(ModelSettings(), field) for field in ModelSettings.__dataclass_fields__}
    return {
        "name": name,
        "version": version,
        "state": "ready",
        "default": True,
        "url": f"{name}.mar",
        "settings": settings,
        "workers": 1,
        "ready_workers": 1,
        "processes": [],
        "waiting": 0,
        "loaded_at_start": False,
        "card": {"description": "It does something.", "fields": {}},
        **changes,
    }


class Supervisor:
    """Stands where the supervisor is asked.

    Attributes:
        models: What there is.
        commands: The changes that were asked for.
        refusal: With what the next one is refused.
        gate: While it is not set, no change is answered.
        outcome: What becomes of a version that is scaled, where it does not have its processes at once.
    """

    def __init__(self, *models: dict[str, Any]) -> None:
        self.models = [*models]
        self.commands: list[Command] = []
        self.refusal: FacetError | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.outcome: dict[str, Any] = {}

    def execute(self, command: Command) -> dict[str, Any]:
        """Answer a command."""
        match command:
            case ListModels():
                return {"models": self.models}
            case DescribeModel(name):
                found = [one for one in self.models if one["name"] == name]
                if not found:
                    raise ModelNotFound("there is none", field="name")
                return {"models": found}
            case Status():
                process = {"pid": 5, "slot": 0, "state": "starting", "started": 0.5, "memory_bytes": 7}
                return {"groups": [{"name": "workers", "processes": [process]}]}
            case _:
                return self._change(command)

    def _change(self, command: Command) -> dict[str, Any]:
        self.commands.append(command)
        assert self.gate.wait(PATIENCE)
        if self.refusal is not None:
            raise self.refusal
        match command:
            case Register(name=name, settings=settings):
                workers = settings.get("min_workers", 3)
                made = described(name or "two", "2.0", workers=workers, ready_workers=workers)
                self.models.append(made)
                return self.models[-1]
            case Scale(name, min_workers=workers):
                [found] = [one for one in self.models if one["name"] == name]
                found |= {"workers": workers, "ready_workers": workers} | self.outcome
                return found
            case _:
                pass
        return {}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with two versions of a model, and another whose name looks like a version."""
    for key in ("two/1.0", "two/2.0", "2go/1.0"):
        add_version(tmp_path, key, 'kind = "onnx"\nfile = "model.onnx"\n', b"")
    return Store(tmp_path)


Make = Callable[..., tuple[Supervisor, TorchServeManagement]]


@pytest.fixture
def make(store: Store) -> Make:
    """Makes the management of a supervisor with these models."""

    def made(*models: dict[str, Any], model_api: bool = True) -> tuple[Supervisor, TorchServeManagement]:
        supervisor = Supervisor(*models)
        urls = ModelUrls(store.resolve, ALLOWED)
        return supervisor, TorchServeManagement(supervisor.execute, urls, model_api=model_api)

    return made


@pytest.mark.parametrize(
    ("limit", "token", "names", "following"),
    [
        (0, 0, [], "0"),
        (2, 0, ["a", "b"], "2"),
        (2, 2, ["c"], None),
        (1, 2, ["c"], "3"),
        (3, 0, ["a", "b", "c"], "3"),
        (4, 0, ["a", "b", "c"], None),
        (100, 0, ["a", "b", "c"], None),
        (101, 1, ["b", "c"], None),
        (-1, -1, ["a", "b", "c"], None),
        (1, 7, [], None),
        (0, 3, [], "3"),
    ],
)
def test_a_page_has_a_token_where_it_does_not_reach_beyond_the_end(
    make: Make, limit: int, token: int, names: list[str], following: str | None
) -> None:
    """Models are sorted by name, each with the URL of its default version."""
    other = described("b", "0.1", default=False, url="other.mar")
    _, management = make(described("c"), other, described("b"), described("a"))
    page = management.list_models(limit, token)
    assert page["models"] == [{"modelName": name, "modelUrl": f"{name}.mar"} for name in names]
    assert page.get("nextPageToken") == following
    assert list(page)[-1] == "models"


def test_all_versions_are_described_by_their_numbers(make: Make) -> None:
    """1.10 above 1.9; without a number the default one is."""
    versions = [described("m", number, default=number == "1.9") for number in ("1.10", "1.9", "0.3")]
    _, management = make(*versions)
    assert [one["modelVersion"] for one in management.describe("m", "all")] == ["0.3", "1.9", "1.10"]
    assert [one["modelVersion"] for one in management.describe("m")] == ["1.9"]


def test_face_detection_is_described_with_the_workers(make: Make) -> None:
    """Which host it."""
    _, management = make(described("face_detection", workers=3))
    [found] = management.describe("face_detection")
    assert (found["minWorkers"], found["maxWorkers"]) == (3, 3)
    assert found["workers"] == [
        {
            "id": "0",
            "startTime": "1970-01-01T00:00:00.500Z",
            "status": "UNLOADING",
            "memoryUsage": 7,
            "pid": 5,
            "gpu": False,
            "gpuUsage": "N/A",
        }
    ]


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("two", "two"),
        ("two.mar", "two.mar"),
        ("two/1.0", "two/1.0"),
        ("/home/model-server/model-store/two.mar", "two.mar"),
        ("./two.mar", "two.mar"),
        ("2024/two.mar", "two.mar"),
        ("models/2go.mar", "2go.mar"),
        ("file:///models/two.mar", "file:///models/two.mar"),
        ("https://some.example/a/two.mar?x=1", "https://some.example/a/two.mar?x=1"),
        ("s3://bucket/two.mar", "s3://bucket/two.mar"),
    ],
)
def test_what_counts_of_a_url_is_its_last_part(make: Make, url: str, known: str) -> None:
    """Or name and version, as everywhere; the supervisor is told what it understands."""
    supervisor, management = make()
    management.register(Registration(url, workers=1, synchronous=True))
    [command] = supervisor.commands
    assert isinstance(command, Register)
    assert command.url == known


@pytest.mark.security(
    endpoint="torchserve",
    attack="Models to be registered by URLs that are not allowed",
    outcome="Refused; the model is taken from the store also where a URL is allowed",
)
def test_a_url_must_match_an_allowed_one_as_a_whole(store: Store) -> None:
    """Whatever its case; names and paths are no URLs."""
    allowed = [r"https://good\.example/.*", r"https://one\.example/two\.mar", r"file:///srv/.*"]
    urls = ModelUrls(store.resolve, allowed)
    for url in ("HTTPS://GOOD.example/two.mar", "file:///srv/two.mar", "two.mar", "/srv/two.mar"):
        assert urls.find(url)[1].name == "two"
    for url in (
        "https://good.example",
        "https://one.example/two.mar/two.mar",
        "https://evil.example/https://good.example/two.mar",
        "file:///two.mar",
    ):
        with pytest.raises(ModelNotFound, match="does not match any allowed URL"):
            urls.find(url)
    with pytest.raises(ModelNotFound, match="empty url"):
        urls.find("")
    with pytest.raises(
        ModelNotFound, match=r"Relative path is not allowed in url: https://evil\.example/\.\./a"
    ):
        urls.find("https://evil.example/../a")


@pytest.mark.parametrize(
    ("parameters", "settings"),
    [
        ({}, {}),
        ({"batch_size": 0, "max_batch_delay": -1, "response_timeout": 0, "startup_timeout": -5}, {}),
        ({"batch_size": 8, "max_batch_delay": 100}, {"max_batch": 8, "max_batch_delay": 0.1}),
        ({"response_timeout": 120, "url": "a", "initial_workers": 3}, {"response_timeout": 120}),
    ],
)
def test_torchserves_parameters_become_settings_of_a_model(
    parameters: dict[str, Any], settings: dict[str, float]
) -> None:
    """Milliseconds become seconds; what is not positive is left to the model."""
    assert settings_of(parameters) == settings
    ModelSettings().with_changes(settings)


def test_a_registration_without_processes_is_waited_for(make: Make) -> None:
    """Because its answer says that it is registered; one with some need not be."""
    supervisor, management = make()
    assert management.register(Registration("two.mar")).at_once
    assert not management.register(Registration("two.mar", "m", workers=2)).at_once
    first, second = supervisor.commands
    assert first == Register("two.mar", settings={"min_workers": 0, "max_workers": 0}, synchronous=True)
    assert second == Register(
        "two.mar", "m", settings={"min_workers": 2, "max_workers": 2}, synchronous=False
    )


def test_face_detection_is_registered_with_the_processes_that_it_has(make: Make) -> None:
    """Whatever number is asked for."""
    supervisor, management = make()
    done = management.register(Registration("face_detection", workers=7, synchronous=True))
    assert done.text.endswith("registered with 3 initial workers")
    management.register(Registration("two.mar", "face_detection", workers=1, synchronous=True))
    first, second = supervisor.commands
    assert first == Register("face_detection")
    assert isinstance(second, Register)
    assert (second.url, second.name) == ("two.mar", "face_detection")  # which the supervisor refuses


@pytest.mark.parametrize(
    ("refusal", "kind", "text"),
    [
        (ModelExists("x"), ModelExists, "Model version 2.0 is already registered for model m"),
        (ModelLoadFailed("x"), ModelLoadFailed, "Failed to start workers for model m version: 2.0"),
        (
            InvalidModel("no graph", field="file"),
            ModelLoadFailed,
            "Failed to start workers for model m version: 2.0",
        ),
        (InvalidModel("too many", field="min_workers"), InvalidModel, "too many"),
        (TooManyModels("no room"), TooManyModels, "no room"),
    ],
)
def test_what_the_supervisor_refuses_has_torchserves_text(
    make: Make, refusal: FacetError, kind: type[FacetError], text: str
) -> None:
    """Where TorchServe has one, and it is not the caller's own number that is wrong."""
    supervisor, management = make()
    supervisor.refusal = refusal
    with pytest.raises(FacetError) as caught:
        management.register(Registration("two.mar", "m", workers=1, synchronous=True))
    assert (type(caught.value), caught.value.detail) == (kind, text)


def test_where_models_may_not_be_changed_nothing_is_looked_at(make: Make) -> None:
    """Neither URL nor name; scaling and the default are not changes of this kind."""
    supervisor, management = make(described("m"), model_api=False)
    with pytest.raises(ModelApiDisabled):
        management.register(Registration(None))
    with pytest.raises(ModelApiDisabled):
        management.unregister("")
    management.scale("m", "", 1, 1, synchronous=True)
    management.set_default("m", "1.0")
    assert supervisor.commands == [Scale("m", "1.0", 1, 1), SetDefault("m", "1.0")]


@pytest.mark.parametrize(
    ("there", "least", "most", "workers"),
    [(2, 1, 1, 1), (2, 1, 2, 2), (2, 3, 4, 3), (2, 0, 0, 0), (0, 1, 3, 1)],
)
def test_scaling_changes_no_more_than_its_bounds_ask(
    make: Make, there: int, least: int, most: int, workers: int
) -> None:
    """Processes that are within them stay."""
    supervisor, management = make(described("m", workers=there))
    assert (
        management.scale("m", "", least, most, synchronous=True).text
        == f"Workers scaled to {least} for model: m"
    )
    assert supervisor.commands == [Scale("m", "1.0", workers, most)]


@pytest.mark.parametrize(
    "outcome",
    [
        {"ready_workers": 1, "state": "failed"},
        {"ready_workers": 1, "settings": {**described("m")["settings"], "startup_timeout": 0.1}},
    ],
)
def test_processes_that_do_not_come_are_told_to_who_waits_for_them(
    make: Make, outcome: dict[str, Any]
) -> None:
    """Whether they cannot start, or take too long."""
    supervisor, management = make(described("m"))
    supervisor.outcome = outcome
    with pytest.raises(ModelLoadFailed, match=r"Failed to start workers for model m version: 1\.0"):
        management.scale("m", "", 2, 2, synchronous=True)


def test_who_waits_for_processes_leaves_threads_to_others(make: Make) -> None:
    """One too many is refused, and nothing of it is done; a failure leaves its place to another."""
    supervisor, management = make(described("m"), described("n"))
    supervisor.outcome = {"ready_workers": 1}
    with ThreadPoolExecutor(MOST_LONG) as threads:
        waiting = [
            threads.submit(management.scale, "m", "", 2, 2, synchronous=True) for _ in range(MOST_LONG)
        ]
        wait_until(lambda: len(supervisor.commands) == MOST_LONG, "all wait")
        with pytest.raises(TooManyChanges):
            management.scale("n", "", 2, 2, synchronous=True)
        assert len(supervisor.commands) == MOST_LONG
        supervisor.models[0]["state"] = "failed"
        for one in waiting:
            assert isinstance(one.exception(PATIENCE), ModelLoadFailed)
    supervisor.outcome = {}
    assert management.scale("n", "", 2, 2, synchronous=True).at_once


@pytest.fixture
def waiting(make: Make) -> Iterator[tuple[Supervisor, TorchServeManagement]]:
    """A supervisor that does not answer changes, until the end."""
    supervisor, management = make(described("m"))
    supervisor.gate.clear()
    yield supervisor, management
    supervisor.gate.set()


def test_scaling_need_not_be_waited_for(
    waiting: tuple[Supervisor, TorchServeManagement], caplog: pytest.LogCaptureFixture
) -> None:
    """What is refused later is in the log, what is refused at once is told."""
    supervisor, management = waiting
    done = management.scale("m", "", 2, 2, synchronous=False)
    assert done == ("Processing worker updates...", False)
    supervisor.refusal = TooManyModels("no room")
    supervisor.gate.set()
    wait_until(lambda: "model not scaled" in caplog.messages, "the refusal is logged")
    with pytest.raises(TooManyModels):
        management.scale("m", "", 2, 2, synchronous=False)


def test_a_version_that_is_not_named_is_the_default_one(make: Make) -> None:
    """Where one is unregistered, too."""
    supervisor, management = make(described("m", "2.0", default=False), described("m", "1.0"))
    assert management.unregister("m").text == 'Model "m" unregistered'
    assert supervisor.commands == [Unregister("m", "1.0")]
