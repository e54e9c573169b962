"""Rules of a model whose schema grows from version to version, through real processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from inference_server.catalogue import commands
from tests.support.model_backend import Backend, clients, model_backend, wait_for_state
from tests.support.model_package import installed
from tests.support.model_store import add_version
from tests.support.processes import ROOT, alive, wait_until
from utils.errors import InvalidModel

SOURCE = '''
"""A model, and what its author made of it later."""

from enum import Enum

from facet_serving import Model
from pydantic import BaseModel


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Flower(Model):
    class Input(BaseModel):
        width: float
        colour: Colour = Colour.RED

    class Output(BaseModel):
        name: str
        certainty: float

    def predict(self, inputs):
        return [self.answer(one) for one in inputs]

    def answer(self, one):
        return self.Output(name=one.colour.value, certainty=one.width)


class Grown(Flower):
    class Input(Flower.Input):
        height: float | None = None

    class Output(Flower.Output):
        size: float | None = None

    def answer(self, one):
        size = None if one.height is None else one.width * one.height
        return self.Output(name=one.colour.value, certainty=one.width, size=size)


class GrownInFront(Grown):
    class Input(BaseModel):
        height: float | None = None
        width: float
        colour: Colour = Colour.RED


class GrownByDemand(Flower):
    class Input(Flower.Input):
        height: float


class Removed(Flower):
    class Output(BaseModel):
        name: str


class Retyped(Flower):
    class Input(BaseModel):
        width: int
        colour: Colour = Colour.RED


class Repeated(Flower):
    class Input(BaseModel):
        width: list[float]
        colour: Colour = Colour.RED


class Renumbered(Flower):
    version = "2.0"


class Demanding(Flower):
    class Input(Flower.Input):
        height: float


Changing = Flower

FewerColours = Enum("Colour", {"RED": "red"})


class Faded(Flower):
    class Input(BaseModel):
        width: float
        colour: FewerColours = FewerColours.RED
'''


NUMBERS = count()
PLAIN = "width: 0.5 colour: 2"
"""An input as text of protobuf; the colour is blue."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the versions' classes are found."""
    return installed(tmp_path_factory.mktemp("package"), "flowers", SOURCE, {"changing": "flowers:Changing"})


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory, package: dict[str, str]) -> Iterator[Backend]:
    """One for all: each test has a model of its own."""
    with model_backend(tmp_path_factory.mktemp("backend"), **package) as running:
        yield running


@pytest.fixture
def flower(backend: Backend) -> str:
    """The name of a model whose version 1.0 is in the store."""
    name = f"flower{next(NUMBERS)}"
    stored(backend, f"{name}/1.0", "Flower")
    return name


def stored(backend: Backend, key: str, name: str) -> Path:
    """A version of a class of the package, in the store."""
    return add_version(backend.state.parent / "store", key, toml_of(name))


def toml_of(name: str) -> str:
    """The configuration of a version of a class of the package."""
    return f'kind = "python"\nclass = "flowers:{name}"\n'


def facet(backend: Backend, package: Mapping[str, str], *arguments: str) -> str:
    """What the command line prints."""
    folders = {"FACET_STATE_DIR": backend.state, "FACET_MODEL_STORE": backend.state.parent / "store"}
    environ = {**os.environ, **package, **{name: str(path) for name, path in folders.items()}}
    command = [str(ROOT / "bin" / "facet"), "models", *arguments]
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def called(backend: Backend, protos: Path, name: str, *inputs: str) -> list[dict[str, Any]]:
    """What a client answers that was compiled from these files."""
    script = str(ROOT / "tests/support/compiled_client.py")
    command = [sys.executable, "-P", script, str(protos), backend.address, name, *inputs]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def test_a_client_of_an_older_version_is_served_by_a_newer_one(
    backend: Backend, package: dict[str, str], flower: str, tmp_path: Path
) -> None:
    """With the stubs that it has; those of the newer one know what was added."""
    old, new = tmp_path / "old", tmp_path / "new"
    backend.register(f"{flower}/1.0")
    facet(backend, package, "protos", flower, "--output", str(old))
    before = called(backend, old, flower, PLAIN)
    stored(backend, f"{flower}/2.0", "Grown")
    backend.register(f"{flower}/2.0")
    backend.manage(commands.SetDefault(flower, "2.0"))
    backend.unregister(flower, "1.0")
    assert called(backend, old, flower, PLAIN) == before == [{"name": "blue", "certainty": 0.5}]
    facet(backend, package, "protos", flower, "--output", str(new))
    assert called(backend, new, flower, PLAIN, f"{PLAIN} height: 4") == [*before, {**before[0], "size": 2.0}]


@pytest.mark.security(
    endpoint="models",
    attack="A version whose schema breaks what clients have",
    outcome="Refused with the field; the other one serves on",
)
@pytest.mark.parametrize(
    ("name", "field", "how"),
    [
        ("Removed", "output.certainty", "was removed"),
        ("Retyped", "input.width", "is int64, and was float"),
        ("Repeated", "input.width", "is repeated float, and was float"),
        ("GrownInFront", "input.width", "has number 2, and had 1"),
        ("Faded", "Colour.{}_Colour_BLUE", "was removed"),
        ("GrownByDemand", "input.height", "is required, and was not"),
    ],
)
def test_a_version_that_breaks_what_clients_have_is_refused(
    backend: Backend, flower: str, name: str, field: str, how: str
) -> None:
    """With the field; and the version that they have serves on."""
    backend.register(f"{flower}/1.0")
    stored(backend, f"{flower}/2.0", name)
    with pytest.raises(InvalidModel, match=how) as caught:
        backend.register(f"{flower}/2.0")
    assert caught.value.field == f"{flower}_{field.format(flower)}"
    assert backend.listed()[f"{flower}/1.0"] == "ready"
    assert f"{flower}/2.0" not in backend.listed()
    backend.unregister(flower)


def test_an_older_version_beside_a_newer_one_is_held_to_the_same(backend: Backend, flower: str) -> None:
    """Whichever of them was registered first."""
    stored(backend, f"{flower}/2.0", "Removed")
    backend.register(f"{flower}/2.0")
    with pytest.raises(InvalidModel, match="was removed"):
        backend.register(f"{flower}/1.0")


def test_versions_that_are_loaded_at_once_are_held_to_the_same(
    package: dict[str, str], tmp_path: Path
) -> None:
    """Of those of the setting, one is served, and the other has failed with the reason."""
    for version, name in (("1.0", "Flower"), ("2.0", "Removed")):
        add_version(tmp_path / "store", f"flower/{version}", toml_of(name))
    with model_backend(tmp_path, FACET_MODELS="flower/1.0,flower/2.0", **package) as running:
        wait_until(lambda: sorted(running.listed().values()) == ["failed", "ready"], "one has failed")
        [line] = running.process.logged("model failed to load")
    assert "certainty of flower_output was removed" in line["reason"]


def test_a_lock_keeps_the_numbers_of_fields_that_change_their_order(
    backend: Backend, package: dict[str, str], flower: str, tmp_path: Path
) -> None:
    """What it does not have is added by the command that makes it."""
    old = tmp_path / "old"
    facet(backend, package, "lock", flower)
    backend.register(f"{flower}/1.0")
    facet(backend, package, "protos", flower, "--output", str(old))
    stored(backend, f"{flower}/2.0", "GrownInFront")
    with pytest.raises(InvalidModel, match=r"schema\.lock does not have height") as caught:
        backend.register(f"{flower}/2.0")
    assert caught.value.field == f"{flower}_input.height"
    assert f"{flower}_input.height = 3" in facet(backend, package, "lock", flower).splitlines()
    backend.register(f"{flower}/2.0")
    backend.manage(commands.SetDefault(flower, "2.0"))
    assert called(backend, old, flower, PLAIN) == [{"name": "blue", "certainty": 0.5}]


def test_a_lock_with_other_numbers_is_refused(backend: Backend, package: dict[str, str], flower: str) -> None:
    """Somebody has changed it after clients were made."""
    backend.register(f"{flower}/1.0")
    facet(backend, package, "lock", flower)
    lock = backend.state.parent / "store" / flower / "schema.lock"
    values = json.loads(lock.read_text())
    fields = values["messages"][f"{flower}_output"]
    fields["name"]["number"], fields["certainty"]["number"] = 2, 1
    lock.write_text(json.dumps(values))
    stored(backend, f"{flower}/2.0", "Flower")
    with pytest.raises(InvalidModel, match="has number 2, and had 1") as caught:
        backend.register(f"{flower}/2.0")
    assert caught.value.field == f"{flower}_output.name"


def install(package: Mapping[str, str], name: str) -> None:
    """Install another release of the package, whose model `changing` is this class."""
    module = Path(package["PYTHONPATH"].split(os.pathsep)[0], "flowers.py")
    module.write_text(SOURCE.replace("Changing = Flower\n", f"Changing = {name}\n"))


@pytest.fixture
def changing(backend: Backend, package: dict[str, str]) -> Iterator[None]:
    """A model of two processes, whose package may be installed anew."""
    backend.register("changing", min_workers=2)
    wait_until(lambda: told(backend)["ready_workers"] == 2, "both have loaded this release")
    yield
    backend.unregister("changing")
    install(package, "Flower")


def told(backend: Backend) -> dict[str, Any]:
    """What operators are told of the model whose package changes."""
    [described] = backend.manage(commands.DescribeModel("changing"))["models"]
    assert isinstance(described, dict)
    return described


def reload(backend: Backend) -> None:
    """Reload the backend, and wait until its workers have been replaced, whose connections then end."""
    before = backend.workers()
    backend.process.send(signal.SIGHUP)
    wait_until(lambda: len(backend.workers() - before) == len(before), "the workers were replaced")
    wait_until(lambda: not any(map(alive, before)), "the workers before are gone")


@pytest.mark.usefixtures("changing")
def test_a_reload_takes_over_a_schema_that_has_grown(backend: Backend, package: dict[str, str]) -> None:
    """When no process of the release before is left; whoever reads it then is understood."""
    before = told(backend)["processes"]
    install(package, "Grown")
    reload(backend)
    backend.process.wait_for("model card replaced", model="changing/1.0")
    assert not any(map(alive, before))
    with clients(backend.address, 1) as [client]:
        answer = client.predict("changing", {"width": 0.5, "height": 4})
    assert answer["size"] == 2.0
    described = told(backend)
    assert "height" in described["card"]["input_schema"]["properties"]
    assert described["failure"] == ""


@pytest.mark.usefixtures("changing")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Removed", "certainty of changing_output was removed"),
        ("Renumbered", "changing/1.0 says that it is changing/2.0"),
        ("Demanding", "height of changing_input is new and required"),
    ],
)
def test_a_reload_to_what_breaks_clients_is_abandoned(
    backend: Backend, package: dict[str, str], name: str, reason: str
) -> None:
    """The processes that there are serve on, and the operator is told, until a release can be loaded."""
    before = told(backend)
    install(package, name)
    reload(backend)
    backend.process.wait_for("reload abandoned", model="changing/")
    described = told(backend)
    assert reason in described["failure"]
    changed = {member for member in before if described[member] != before[member]}
    assert changed == {"failure"}
    with clients(backend.address, 1) as [client]:
        assert client.predict("changing", {"width": 0.5})["certainty"] == 0.5
    install(package, "Flower")
    reload(backend)
    wait_until(lambda: told(backend)["failure"] == "", "it can be loaded again")


def test_a_restart_keeps_a_version_to_what_it_was_registered_with(
    package: dict[str, str], tmp_path: Path
) -> None:
    """Clients have not forgotten it, either."""
    with model_backend(tmp_path, **package) as running:
        running.register("changing")
    install(package, "Removed")
    try:
        with model_backend(tmp_path, **package) as running:
            wait_for_state(running, "changing/1.0", "failed")
            assert "certainty of changing_output was removed" in told(running)["failure"]
    finally:
        install(package, "Flower")
