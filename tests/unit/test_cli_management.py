"""Rules of the commands that ask a backend: what they ask it for, and what they print of the answer."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.models import backend
from inference_server.catalogue.commands import (
    Command,
    DescribeModel,
    ListModels,
    Register,
    Reload,
    Scale,
    SetCanary,
    SetDefault,
    Unregister,
)
from tests.support.control_socket import Control, control_socket, described
from utils.errors import InvalidModel, ModelExists

CARD = {
    "description": "Names a flower.",
    "operations": ["typed", "json"],
    "input_schema": {
        "properties": {
            "leaf": {"$ref": "#/$defs/Leaf"},
            "sizes": {"type": "array", "items": {"type": "number"}},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "picture": {"type": "string", "format": "binary"},
            "more": {},
        },
        "required": ["leaf", "sizes"],
    },
    "output_schema": {"properties": {"name": {"type": "string"}}, "required": ["name"]},
}
GONE = {"name": "iris", "version": "1.0"}
LOADING = described(version="", state="loading", workers=1)
ALL_SETTINGS = (
    "--min-workers 0 --max-workers 4 --max-batch 8 --max-batch-delay 0.01 --response-timeout 5 "
    "--startup-timeout 90 --nice 10 --memory 4G"
)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    """A backend that answers."""
    with control_socket(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("list", ListModels()),
        ("describe iris", DescribeModel("iris")),
        ("describe iris 1.0", DescribeModel("iris", "1.0")),
        ("register iris", Register("iris")),
        ("register iris/1.0 --name flower", Register("iris/1.0", name="flower")),
        ("register iris --version 1.0 --no-wait", Register("iris", version="1.0", synchronous=False)),
        (
            f"register iris {ALL_SETTINGS}",
            Register(
                "iris",
                settings={
                    "min_workers": 0,
                    "max_workers": 4,
                    "max_batch": 8,
                    "max_batch_delay": 0.01,
                    "response_timeout": 5.0,
                    "startup_timeout": 90.0,
                    "nice": 10,
                    "memory_bytes": 4 * 2**30,
                },
            ),
        ),
        ("register iris --memory 1000", Register("iris", settings={"memory_bytes": 1000})),
        ("scale iris --min 2", Scale("iris", "", 2)),
        ("scale iris 1.0 --min 0 --max 3", Scale("iris", "1.0", 0, 3)),
        ("reload iris", Reload("iris")),
        ("reload iris 1.0", Reload("iris", "1.0")),
        ("default iris 1.0", SetDefault("iris", "1.0")),
        ("canary iris 1.1=10 2.0=5", SetCanary("iris", {"1.1": 10, "2.0": 5})),
        ("canary iris --off", SetCanary("iris", {})),
        ("unregister iris", Unregister("iris")),
        ("unregister iris 1.0", Unregister("iris", "1.0")),
    ],
)
def test_a_command_line_is_one_command_of_the_catalogue(
    control: Control, line: str, command: Command
) -> None:
    """Its answer is printed as it came, for programs."""
    answer = {"models": [], "what": "f\u00fcr Programme"}
    control.answers = [answer]
    result = control.run(*line.split(), "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == answer
    assert control.commands == [command]


def test_versions_are_listed_in_columns(control: Control) -> None:
    """With who serves calls that name no version, and how many processes are missing."""
    control.answers = [
        {
            "models": [
                described(),
                described(version="1.10", default=False, canary=10, ready_workers=1),
                described("expression", "", state="loading", default=False, ready_workers=0, workers=1),
            ]
        }
    ]
    assert control.run("list").stdout == (
        "NAME        VERSION  STATE    DEFAULT  WORKERS  KIND\n"
        "iris        1.0      ready    yes      2        onnx\n"
        "iris        1.10     ready    10%      1/2      onnx\n"
        "expression  -        loading  -        0/1      onnx\n"
    )


def test_a_version_is_described_by_what_it_takes_and_gives(control: Control) -> None:
    """Names and types of the members; what there is nothing to say of is left out."""
    failed = described(version="2.0", default=False, state="failed", failure="no file", card=None)
    control.answers = [{"models": [described(card=CARD), failed]}]
    first, second = control.run("describe", "iris").stdout.split("\n\n")
    details = dict(line.split("  ", 1) for line in first.splitlines())
    told = {name.strip(): text.strip() for name, text in details.items()}
    assert told["processes"] == "11 (50 MiB), 12 (starting, 9 MiB)"
    assert told["waiting"] == "3"
    assert told["settings"] == "min_workers=2, max_batch_delay=0.05"
    assert told["input"] == "leaf: Leaf, sizes: [number], note?: string or null, picture?: binary, more?: any"
    assert told["output"] == "name: string"
    assert "failure" not in told
    assert "failure        no file\n" in second
    assert "input" not in second


@pytest.mark.parametrize(
    ("line", "answer", "said"),
    [
        ("register iris", described(), "iris 1.0 is ready with 2 workers\n"),
        ("register iris --no-wait", LOADING, "iris - is loading with 1 worker\n"),
        ("scale iris --min 0", described(state="idle", workers=0), "iris 1.0 is idle with 0 workers\n"),
        ("default iris 1.0", described(), "iris 1.0 is the default version\n"),
        ("canary iris 1.1=10", {}, "iris: of the calls that name no version, 10% go to 1.1\n"),
        ("canary iris --off", {}, "iris: the default version serves all calls that name no version\n"),
        ("unregister iris", GONE, "iris 1.0 is unregistered\n"),
    ],
)
def test_a_change_is_told_in_a_line(
    control: Control, line: str, answer: dict[str, object], said: str
) -> None:
    """And nothing on standard error, where no terminal is."""
    control.answers = [answer]
    result = control.run(*line.split())
    assert (result.exit_code, result.stdout, result.stderr) == (0, said, "")


def test_what_loads_is_told_on_a_terminal(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error, so that the answer can be read by programs; not where nobody waits for it."""
    monkeypatch.setattr("cli.models.register.on_terminal", lambda: True)
    control.answers = [described(), described()]
    assert control.run("register", "iris").stderr == "loading iris ...\n"
    assert control.run("register", "iris", "--no-wait").stderr == ""


def test_a_refusal_ends_with_1_and_one_line(control: Control) -> None:
    """Whatever line ends and colours the detail has."""
    control.answers = [ModelExists("The model iris is\n\x1b[31mregistered already", field="name")]
    result = control.run("register", "iris")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "facet: MODEL_EXISTS: The model iris is  [31mregistered already\n"


def test_ranges_are_the_backend_s(control: Control) -> None:
    """A number that it refuses is no fault of the usage."""
    control.answers = [InvalidModel("max_batch is 65; accepted: 1 to 64", field="max_batch")]
    result = control.run("register", "iris", "--max-batch", "65")
    assert (result.exit_code, result.stderr) == (
        1,
        "facet: INVALID_MODEL: max_batch is 65; accepted: 1 to 64\n",
    )


@pytest.mark.security(
    endpoint="models",
    attack="A description of a model with line breaks and codes for terminals",
    outcome="`facet` prints neither",
)
def test_what_authors_of_models_write_does_not_act_on_the_terminal(control: Control) -> None:
    """A description is printed in its line."""
    control.answers = [{"models": [described(card={"description": "a\nb\x1b]0;c\x07"})]}]
    assert "a b ]0;c \n" in control.run("describe", "iris").stdout


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("register", "SOURCE"),
        ("register iris --max-batch many", "--max-batch"),
        ("register iris --memory 4X", "or with K, M or G"),
        ("scale iris", "--min"),
        ("default iris", "VERSION"),
        ("canary iris", "--off"),
        ("canary iris 1.1=10 --off", "--off"),
        ("canary iris 1.1", "accepted: VERSION=PERCENT"),
        ("canary iris 1.1=\u00b2", "accepted: VERSION=PERCENT"),
        ("canary iris =10", "accepted: VERSION=PERCENT"),
        ("list iris", "iris"),
    ],
)
def test_what_is_not_understood_ends_with_2_and_asks_nobody(control: Control, line: str, shown: str) -> None:
    """The usage names what is missing or wrong."""
    result = control.run(*line.split())
    assert result.exit_code == 2
    assert shown in result.stderr
    assert control.commands == []


def test_an_option_names_another_backend(control: Control, tmp_path: Path) -> None:
    """It comes before the environment."""
    (tmp_path / "other").mkdir()
    with control_socket(tmp_path / "other") as other:
        other.answers = [{"models": []}]
        assert control.run("list", "--state-dir", str(other.folder)).exit_code == 0
        assert other.commands == [ListModels()]
    assert control.commands == []


def test_without_a_backend_the_line_says_where_it_was_looked_for(control: Control, tmp_path: Path) -> None:
    """Whoever typed it may see paths."""
    result = control.run("list", "--state-dir", str(tmp_path / "none"))
    assert result.exit_code == 3
    assert result.stderr.startswith("facet: BACKEND_UNAVAILABLE: ")
    assert str(tmp_path / "none" / "control.sock") in result.stderr


def test_a_backend_that_does_not_answer_is_not_waited_for_for_ever(
    control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says that it may still do what it was asked for."""
    (tmp_path / "mute").mkdir()
    monkeypatch.setattr(backend, "patience", lambda _command: 0.05)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute" / "control.sock"))
        mute.listen()
        result = control.run("list", "--state-dir", str(tmp_path / "mute"))
    assert result.exit_code == 1
    assert result.stderr.startswith("facet: DEADLINE_EXCEEDED: ")
