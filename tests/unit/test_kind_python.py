"""The kinds `python` and `entry_point`: classes of installed packages, and reasons for what is none."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_server.catalogue.entries import Source
from inference_server.models.lock import FILE_NAME
from tests.support.loaded_models import ask, handled, loaded, request
from utils.errors import FacetError, InvalidModel, ModelLoadFailed

MODELS = '''
"""Models of a package."""

import sys

from facet_serving import Model
from pydantic import BaseModel


class Text(BaseModel):
    text: str = ""


class Upper(Model):
    version = "2.5"
    Input = Text
    Output = Text

    def load(self, folder, options):
        self.end = f"{options} {folder and folder.name}"

    def predict(self, inputs):
        return [Text(text=f"{one.text.upper()} {self.end}") for one in inputs]


class Outer:
    class Inner(Upper):
        version = "3.0"


class Raises(Upper):
    def load(self, folder, options):
        raise RuntimeError(f"no weights in {folder}/weights.bin,\\nnor elsewhere")


number = 7
upper = Upper()
'''

BROKEN = {
    "imports": "import a_module_that_is_not_there\n",
    "syntax": "def\n",
    "exits": "import sys; sys.exit('no licence')\n",
    "raises": "open('/srv/secret/key')\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package `some_models`, and beside it modules that cannot be imported."""
    site = tmp_path / "site"
    (folder := site / "some_models").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "models.py").write_text(MODELS)
    for name, source in BROKEN.items():
        (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(site))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] in {"some_models", "others"}]:
        del sys.modules[name]


def entry_points(package: Path, distribution: str, **points: str) -> None:
    """Install a distribution that names models."""
    (info := package.parent / f"{distribution}-1.0.dist-info").mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (info / "entry_points.txt").write_text(f"[facet.models]\n{lines}")


def of(reference: str, folder: Path | None = None, **options: object) -> Source:
    """The source of the kind `python`, as model.toml has it."""
    return Source("python", folder, {"class": reference, **options})


def answer(source: Source) -> str:
    """What the model makes of `a`."""
    [found] = ask(loaded(source), request("json", {"text": "a"}))
    return str(found["text"])


def refused(source: Source) -> FacetError:
    """Why it cannot be loaded."""
    with pytest.raises(FacetError) as caught:
        loaded(source)
    assert "/" not in caught.value.detail
    return caught.value


@pytest.mark.usefixtures("package")
def test_a_class_is_found_in_an_installed_package(tmp_path: Path) -> None:
    """Nested ones, too; it is given its folder in the store, and what model.toml says beside the class."""
    assert answer(of("some_models.models:Upper")) == "A {} None"
    assert loaded(of("some_models.models:Outer.Inner")).key == "model/3.0"
    stored = of("some_models.models:Upper", tmp_path / "1.0", scale=2)
    assert answer(stored) == "A {'scale': 2} 1.0"


def test_an_entry_point_names_a_class(package: Path) -> None:
    """Its model has neither folder nor options."""
    entry_points(package, "some_models", upper="some_models.models:Upper")
    assert answer(Source("entry_point", options={"entry_point": "upper"})) == "A {} None"


def test_two_packages_may_name_a_model_only_if_they_agree(package: Path) -> None:
    """Else nobody could say which one is served."""
    entry_points(package, "one", upper="some_models.models:Upper", other="some_models.models:Upper")
    entry_points(package, "two", upper="some_models.models:Upper", other="some_models.models:Raises")
    assert answer(Source("entry_point", options={"entry_point": "upper"})) == "A {} None"
    error = refused(Source("entry_point", options={"entry_point": "other"}))
    assert (type(error), error.field) == (InvalidModel, "entry_point")
    assert "several installed packages have an entry point 'other' in facet.models" in error.detail


@pytest.mark.usefixtures("package")
def test_an_entry_point_that_nobody_has_is_named() -> None:
    """With the group in which it was looked for."""
    error = refused(Source("entry_point", options={"entry_point": "upper"}))
    assert (type(error), error.field) == (InvalidModel, "entry_point")
    assert "no installed package has an entry point 'upper' in facet.models" in error.detail


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("others:Upper", "there is no module 'others' among the installed packages"),
        ("some_models.others:Upper", "there is no module 'some_models.others' among"),
        ("some_models.models.deep:Upper", "there is no module 'some_models.models.deep' among"),
        ("some_models.models:Lower", "some_models.models has no class 'Lower'"),
        ("some_models.models:Outer.Other", "some_models.models has no class 'Outer.Other'"),
        ("some_models.models:number", "some_models.models has no class 'number'"),
        ("some_models.models:upper", "some_models.models has no class 'upper'"),
        ("some_models.models:Text", "Text is no model; accepted: "),
        ("some_models.models", "some_models.models has no class ''"),
        (":Upper", "the class is ':Upper'; accepted: module:Class"),
        ("", "the class is ''; accepted: module:Class"),
    ],
)
def test_what_names_no_class_of_an_installed_package_is_refused(reference: str, told: str) -> None:
    """The key at fault is `class`."""
    error = refused(of(reference))
    assert (type(error), error.field) == (InvalidModel, "class")
    assert told in error.detail


@pytest.mark.security(
    endpoint="files",
    attack="Code in the folder of a model in the store",
    outcome="Not imported: classes come from installed packages only",
)
@pytest.mark.usefixtures("package")
def test_code_beside_model_toml_is_not_run(tmp_path: Path) -> None:
    """The store has files; code comes from what somebody has installed."""
    (folder := tmp_path / "1.0").mkdir()
    (folder / "others.py").write_text(MODELS)
    assert "no module 'others'" in refused(of("others:Upper", folder)).detail


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("imports", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
        ("syntax", "SyntaxError: invalid syntax (syntax.py, line 1)"),
        ("exits", "SystemExit: no licence"),
        ("raises", "FileNotFoundError: [Errno 2] No such file or directory: 'key'"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(module: str, told: str) -> None:
    """Without folders: whoever registers it reads it."""
    error = refused(of(f"some_models.{module}:Upper"))
    assert (type(error), error.detail) == (ModelLoadFailed, told)


@pytest.mark.usefixtures("package")
def test_a_model_that_cannot_be_loaded_says_why_on_one_line(tmp_path: Path) -> None:
    """Without folders."""
    error = refused(of("some_models.models:Raises", tmp_path))
    assert (type(error), error.detail) == (
        ModelLoadFailed,
        "RuntimeError: no weights in weights.bin, nor elsewhere",
    )


LOCK = """{"format": 1, "messages": {"model_input": {"text": {"number": 9, "type": "optional string"}},
           "model_output": {"text": {"number": 9, "type": "optional string"}}}}"""


def test_a_package_ships_the_numbers_of_its_fields(package: Path) -> None:
    """By either kind; beside a folder in the store another one goes before it."""
    (package / FILE_NAME).write_text(LOCK)
    entry_points(package, "some_models", upper="some_models.models:Upper")
    for source in (of("some_models.models:Upper"), Source("entry_point", options={"entry_point": "upper"})):
        [outcome] = handled(loaded(source), request("typed", b"\x4a\x01a"))
        assert b"\x4a\x09A {} None" in outcome.answer
    (folder := package.parent / "model" / "1.0").mkdir(parents=True)
    (folder.parent / FILE_NAME).write_text(LOCK.replace("9", "3"))
    stored = loaded(of("some_models.models:Upper", folder))
    assert b"\x1a\x08A {} 1.0" in handled(stored, request("typed", b"\x1a\x01a"))[0].answer


@pytest.mark.parametrize(
    ("content", "field"), [("{}", None), (LOCK.replace("text", "other"), "model_input.text")]
)
def test_a_lock_that_does_not_have_the_fields_is_refused(
    package: Path, content: str, field: str | None
) -> None:
    """It would give them numbers by chance."""
    (package / FILE_NAME).write_text(content)
    error = refused(of("some_models.models:Upper"))
    assert (type(error), error.field) == (InvalidModel, field)


def test_an_entry_points_model_is_known_by_its_own_version(package: Path) -> None:
    """The catalogue has none before it is loaded."""
    entry_points(package, "some_models", upper="some_models.models:Upper")
    assert loaded(Source("entry_point", options={"entry_point": "upper"}), "upper").key == "upper/2.5"
