"""Keeps what the tests of a module found: one file of results for each, of a run of all its tests.

`make test-heavy` asks for it by --write-results; `scripts/document_heavy_tests.py` makes the page of it.
"""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import machine
from tests.support.image import build
from tests.support.podman import Podman, configured

RESULTS = Path(__file__).parent / "results"
_MACHINE = ("date", "commit", "clean", "cpu", "cpus", "memory_gib", "kernel", "python")

Note = Callable[[str, str], None]


class _Results:
    """What each module's tests and their notes say, until the end of the run."""

    def __init__(self) -> None:
        self.titles: dict[str, str] = {}
        self.tests: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self.notes: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
        self._chosen: Counter[str] = Counter()
        self._left_out: set[str] = set()

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """What is not run as a whole is not written."""
        self._left_out |= {_module(item) for item in items}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember what should run, and what the modules are about."""
        for item in session.items:
            name = _module(item)
            self._chosen[name] += 1
            self.titles[name] = _first_line(item.getparent(pytest.Module).obj)  # type: ignore[union-attr]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:  # noqa: ANN401 - pytest's own protocol
        """Remember a test's outcome, with the rule that its docstring says."""
        report: pytest.TestReport = yield
        tests = self.tests[_module(item)]
        known = tests.setdefault(item.name, {"outcome": "passed", "seconds": 0.0, "rule": _rule(item)})
        known["seconds"] = round(known["seconds"] + report.duration, 1)
        if report.outcome != "passed":
            known["outcome"] = report.outcome
        return report

    def pytest_sessionfinish(self) -> None:
        """Write what ran as a whole, failures included."""
        where = {name: value for name, value in machine.describe().items() if name in _MACHINE}
        where["load"] = round(os.getloadavg()[1])
        for name, tests in self.tests.items():
            if name not in self._left_out and len(tests) == self._chosen[name]:
                found = {"title": self.titles[name], "machine": where, **self.notes[name], "tests": tests}
                RESULTS.mkdir(exist_ok=True)
                text = json.dumps(found, indent=1, ensure_ascii=False)
                (RESULTS / f"{name}.json").write_text(text + "\n")


def _module(item: pytest.Item) -> str:
    return item.path.stem.removeprefix("test_")


def _first_line(described: object) -> str:
    return (described.__doc__ or "").strip().partition("\n")[0]


def _rule(item: pytest.Item) -> str:
    """What a test's name and docstring say."""
    name = item.name.partition("[")[0].removeprefix("test_").replace("_", " ")
    return f"{name[0].upper()}{name[1:]}. {_first_line(item.obj)}"  # type: ignore[attr-defined]


def pytest_addoption(parser: pytest.Parser) -> None:
    """--write-results, which `make test-heavy` gives."""
    parser.addoption("--write-results", action="store_true", help="keep what heavy tests find")


def pytest_configure(config: pytest.Config) -> None:
    """Collect what is found, and write it where that is asked for."""
    results = _Results()
    config.stash[_KEY] = results
    if config.getoption("--write-results"):
        config.pluginmanager.register(results, "heavy-results")


_KEY = pytest.StashKey[_Results]()


def _noted(request: pytest.FixtureRequest, kind: str) -> Note:
    name = request.path.stem.removeprefix("test_")
    return request.config.stash[_KEY].notes[name][kind].__setitem__


@pytest.fixture(scope="module")
def figure(request: pytest.FixtureRequest) -> Note:
    """Takes the name of what was measured and its value, with the unit, for the results of the module."""
    return _noted(request, "figures")


@pytest.fixture(scope="module")
def version(request: pytest.FixtureRequest) -> Note:
    """Takes the name and the version of a program that was tried, for the results of the module."""
    return _noted(request, "versions")


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    """Podman, with all that it needs."""
    return configured(tmp_path_factory.mktemp("podman"))


@pytest.fixture(scope="session")
def image(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> float:
    """Has `facet` be the image of this checkout; gives the seconds that it took to build."""
    return build(podman, tmp_path_factory.mktemp("image"))
