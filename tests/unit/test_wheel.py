"""Rules of how the packages become those of the wheel, and of what it asks for."""

import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts.locks import SERVE, WHEEL, requirements
from scripts.wheel import EXTRAS, MOVED, TARGET, Extras, Module, NotRelocatable, modules, write
from tests.support.processes import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OTHERS = {"utils", "utils.logs", "gateway", "gateway.server", "inference_server", "inference_server.worker"}


def relocated(source: str, name: str = "gateway.app") -> str:
    """A module as the wheel has it."""
    return Module(name, source.encode(), OTHERS).relocated().decode()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from utils import logs", "from facet_serving.utils import logs"),
        ("from utils.logs import fields", "from facet_serving.utils.logs import fields"),
        ("from  protos import infer_pb2 as pb", "from  facet_serving.protos import infer_pb2 as pb"),
        ("import os; import utils; utils.logs", "import os; from facet_serving import utils; utils.logs"),
        ("import utils.logs as logs, os", "import facet_serving.utils.logs as logs, os"),
        ("from utils import (\n    logs,  # é\n)", "from facet_serving.utils import (\n    logs,  # é\n)"),
        (
            "é = 'é'; from utils import logs; from gateway import app",
            "é = 'é'; from facet_serving.utils import logs; from facet_serving.gateway import app",
        ),
        ("def f():\n    from utils import logs", "def f():\n    from facet_serving.utils import logs"),
    ],
)
def test_every_form_of_import_is_moved(source: str, expected: str) -> None:
    """And the line stays as it is written."""
    assert relocated(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "import os, utils_of_others",
        "from facet_serving import Model",
        "from .utils import logs",
        "from grpc import protos",
        '"""As `utils.logs` and `python -m gateway`."""',
        "x = 'gateway'\n'''What utils.logs calls it.'''",
        "logger = getLogger('inference_server.worker')",
        "from os import environ  # as utils.logs",
        "x = b'utils.logs'",
    ],
)
def test_what_names_no_module_stays(source: str) -> None:
    """Modules of others, documentation, loggers, words."""
    assert relocated(source) == source


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('x = "utils.logs"', 'x = "facet_serving.utils.logs"'),
        ("x = {'a': 'utils.logs:fields'}", "x = {'a': 'facet_serving.utils.logs:fields'}"),
        ('wsgi_app = "gateway:create_app()"', 'wsgi_app = "facet_serving.gateway:create_app()"'),
        ('x = "gateway.server.Worker"', 'x = "facet_serving.gateway.server.Worker"'),
        ('x = [python, "-m", "gateway"]', 'x = [python, "-m", "facet_serving.gateway"]'),
        ('x = run(python, "-m", "gateway")', 'x = run(python, "-m", "facet_serving.gateway")'),
        ('x = import_module("utils")', 'x = import_module("facet_serving.utils")'),
        ('x = "try `python -m utils.logs`"', 'x = "try `python -m facet_serving.utils.logs`"'),
        ('x = f"try python -m gateway {x}"', 'x = f"try python -m facet_serving.gateway {x}"'),
    ],
)
def test_texts_that_name_modules_are_moved(source: str, expected: str) -> None:
    """Those by which modules are imported, started, or told to be started."""
    assert relocated(source) == expected


def test_loggers_keep_the_names_of_the_documentation() -> None:
    """Which are those of the modules of the repository."""
    assert relocated("x = getLogger(__name__)") == 'x = getLogger("gateway.app")'
    assert relocated("x = import_module(__name__)") == "x = import_module(__name__)"


@pytest.mark.parametrize(
    "source",
    [
        "import os\nimport utils.logs",
        "import os\nimport gateway, sys",
        "import os\nx = f'utils.logs.{y}'",
        "import os\nx = 'the file is read by utils.logs'",
        "import os\nx = 'utils.no_module'",
        "import os\nx = 'python -m ' 'gateway'",
    ],
)
def test_what_cannot_be_moved_safely_stops_the_build(source: str) -> None:
    """With the module and the line."""
    with pytest.raises(
        NotRelocatable, match=r"^gateway\.app, line 2: .*(utils|-m gateway|an import; accepted: from)"
    ):
        relocated(source)


def test_the_wheel_has_every_file_of_the_packages_as_the_repository_does(tmp_path: Path) -> None:
    """Under one package; each module can be moved, and is still Python."""
    write(ROOT, tmp_path)
    listed = subprocess.check_output(["git", "ls-files", TARGET, *MOVED], cwd=ROOT, text=True)
    expected = {name if name.startswith(TARGET) else f"{TARGET}/{name}" for name in listed.split()}
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == expected
    for path in tmp_path.rglob("*.py"):
        compile(path.read_bytes(), path, "exec")


def test_every_module_that_is_started_or_imported_by_name_is_known_to_the_move() -> None:
    """By the same names as Python has them."""
    assert {"inference_server.worker", "gateway.__main__", "protos.infer_pb2", "facet_serving"} <= {
        *modules(ROOT)
    }


def test_the_extras_ask_for_what_the_files_of_requirements_name() -> None:
    """And for the native engine of this release."""
    metadata: dict[str, dict[str, list[str]]] = {}
    Extras(str(ROOT), {}).update(metadata)
    extras = metadata["optional-dependencies"]
    for extra, name in EXTRAS.items():
        assert set(map(Requirement, extras[extra])) == set(requirements(name))
    native = tomllib.loads((ROOT / "native" / "pyproject.toml").read_text())["project"]
    assert extras["native"] == [f"{native['name']}=={native['version']}"]


def test_clients_may_have_later_packages_than_what_serves_and_no_earlier_ones() -> None:
    """The generated code refuses earlier ones."""
    pinned = {requirement.name: str(requirement.specifier) for requirement in requirements(SERVE)}
    for requirement in map(Requirement, PROJECT["project"]["dependencies"]):
        assert str(requirement.specifier) == pinned[requirement.name].replace("==", ">="), requirement


def test_both_distributions_are_built_with_the_tools_of_the_lock() -> None:
    """And installed by none but the Pythons that Facet runs on."""
    wanted = set(map(Requirement, PROJECT["build-system"]["requires"]))
    assert wanted <= set(requirements(WHEEL))
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.14"
    assert (ROOT / "native" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
