"""What docs/models.md tells authors of models is true: its model is installed, locked, loaded and called."""

import importlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.facet import facet
from inference_server.catalogue.store import Store
from inference_server.models import local
from inference_server.models.proto_text import render
from inference_server.models.schema import Schema
from tests.support.processes import ROOT
from utils.errors import InvalidModel

PAGE = (ROOT / "docs" / "models.md").read_text().partition("## Kinds in the store")[0]
MODEL, TRIAL, NOTEBOOK = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PROJECT, VERSION = map(tomllib.loads, re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
[MESSAGES] = re.findall(r"```protobuf\n(.*?)```", PAGE, re.DOTALL)
TRIED, TRIED_IN_NOTEBOOK = re.findall(r"```\n\n    (\S.*)\n", PAGE)


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's package, as pip installs it: the folder of its module."""
    [name] = PROJECT["tool"]["setuptools"]["packages"]
    site = tmp_path / "site"
    (site / name).mkdir(parents=True)
    (site / name / "__init__.py").write_text(MODEL)
    info = site / "iris_model-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {PROJECT['project']['name']}\nVersion: 1.0\n"
    )
    points = PROJECT["project"]["entry-points"]["facet.models"]
    (info / "entry_points.txt").write_text(
        "[facet.models]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("FACET_MODEL_STORE", str(tmp_path / "store"))
    yield site / name
    sys.modules.pop(name, None)


def test_a_whole_model_has_less_than_forty_lines_of_code() -> None:
    """Which is what it takes to have one served."""
    assert len([line for line in MODEL.splitlines() if line]) < 40


def test_the_model_is_tried_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    """By its entry point, with the answer that the page shows."""
    exec(TRIAL, {})  # noqa: S102 - the page's own program
    assert capsys.readouterr().out == f"{TRIED}\n"


def test_the_notebooks_lines_follow_those_of_the_trial(capsys: pytest.CaptureFixture[str]) -> None:
    """In one namespace, as the cells of a notebook."""
    cells: dict[str, object] = {}
    exec(TRIAL, cells)  # noqa: S102 - the page's own program
    capsys.readouterr()
    exec(NOTEBOOK, cells)  # noqa: S102 - the page's own program
    assert capsys.readouterr().out == f"{TRIED_IN_NOTEBOOK}\n"


def test_the_messages_are_those_of_the_model() -> None:
    """As `facet models protos` prints them."""
    iris = importlib.import_module("iris_model").Iris
    text = render(Schema("iris", iris.Input, iris.Output).descriptor)
    assert text.endswith(f"\n\n{MESSAGES}")


def test_the_lock_is_shipped_with_the_package(package: Path) -> None:
    """And then holds: what is not in it cannot be registered."""
    path = package / "schema.lock"
    assert path.name in PROJECT["tool"]["setuptools"]["package-data"][package.name]
    written = CliRunner().invoke(facet, ["models", "lock", "iris", "--output", str(path)])
    assert written.exit_code == 0, written.output
    assert local.load("iris").card["input_type"] == "iris_input"
    locked = json.loads(path.read_text())
    del locked["messages"]["iris_input"]["petal_width"]
    path.write_text(json.dumps(locked))
    with pytest.raises(InvalidModel, match="petal_width of iris_input"):
        local.load("iris")


def test_a_version_in_the_store_names_the_class(tmp_path: Path) -> None:
    """With the page's own model.toml."""
    folder = tmp_path / "store" / "flowers" / "2.0"
    folder.mkdir(parents=True)
    content = "".join(f"{key} = {json.dumps(value)}\n" for key, value in VERSION.items())
    (folder / "model.toml").write_text(content)
    assert Store(tmp_path / "store").resolve("flowers").source.options == {"class": VERSION["class"]}
    assert local.load("flowers").key == "flowers/2.0"
