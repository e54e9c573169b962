"""Rules of the command line as a whole: what it loads, how it fails, and that its page has all of it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.facet import facet
from tests.support.control_socket import control_socket
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text()
HEAVY = {"facet_serving", "flask", "google", "grpc", "numpy", "onnx", "onnxruntime", "orjson", "pydantic"}


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands with what is typed for them."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


COMMANDS = dict(commands(facet))
LEAVES = {path: command for path, command in COMMANDS.items() if not isinstance(command, click.Group)}


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the checkout in another folder."""
    return subprocess.run(
        command,
        cwd="/",
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_command_has_help(path: tuple[str, ...]) -> None:
    """Of itself and of each of its options."""
    result = CliRunner().invoke(facet, [*path, "--help"], prog_name="facet")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: facet {' '.join(path)} ")
    assert COMMANDS[path].help
    for option in COMMANDS[path].params:
        assert not isinstance(option, click.Option) or option.help


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_each_command_and_option_is_on_the_page(path: tuple[str, ...]) -> None:
    """A command with an example, an option in the section of its command or of what all have."""
    shared, *sections = PAGE.split("\n## ")
    section = next(text for text in sections if text.startswith(f"`facet {' '.join(path)}"))
    assert f"\n    facet {' '.join(path)}" in section
    for parameter in LEAVES[path].params:
        if isinstance(parameter, click.Option):
            assert all(f"`{option}" in section + shared for option in parameter.opts)


def test_the_page_has_no_command_that_there_is_not() -> None:
    """Nor one that another release had."""
    headings = [line.split("`")[1] for line in PAGE.splitlines() if line.startswith("## `facet ")]
    typed = {tuple(word for word in heading.split()[1:] if word.islower()) for heading in headings}
    assert typed == LEAVES.keys()


def test_a_command_that_asks_a_backend_loads_nothing_but_click(tmp_path: Path) -> None:
    """So that it answers at once."""
    program = (
        "import sys; from cli.facet import facet; facet({0}, standalone_mode=False); print(*sys.modules)"
    )
    with control_socket(tmp_path) as control:
        control.answers = [{"models": []}]
        for arguments in (["models", "list"], ["models", "--help"], ["--help"]):
            output = run(
                sys.executable,
                "-c",
                program.format(arguments),
                PYTHONPATH=str(ROOT),
                FACET_STATE_DIR=str(tmp_path),
            )
            assert output.returncode == 0, output.stderr
            loaded = {name.partition(".")[0] for name in output.stdout.splitlines()[-1].split()}
            assert "click" in loaded
            assert not loaded & HEAVY


def test_a_slip_of_the_pen_is_answered_with_what_there_is() -> None:
    """Also where no command has been imported."""
    result = CliRunner().invoke(facet, ["models", "regster"], prog_name="facet")
    assert result.exit_code == 2
    assert "'register'" in result.stderr


def test_a_wrong_setting_ends_with_one_line() -> None:
    """As the start of a backend does with it."""
    environ = {"FACET_STATE_DIR": "state"}
    result = CliRunner(env=environ).invoke(facet, ["models", "list"], prog_name="facet")
    assert result.exit_code == 1
    assert result.stderr.startswith("facet: INVALID_SETTING: FACET_STATE_DIR is 'state'; accepted: ")


@pytest.mark.parametrize(
    ("variable", "line"), [("state_dir", "models list"), ("model_store", "models lock iris")]
)
def test_a_user_without_a_home_is_told_what_to_set(
    variable: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable, and the option in its place."""
    from utils import settings

    monkeypatch.setitem(settings._FOLDERS, variable, lambda _environ: None)
    monkeypatch.delenv(f"FACET_{variable.upper()}", raising=False)
    result = CliRunner().invoke(facet, line.split(), prog_name="facet")
    assert result.exit_code == 1
    option = {"state_dir": "--state-dir", "model_store": "--store"}[variable]
    assert result.stderr.startswith(f"facet: INVALID_SETTING: FACET_{variable.upper()} is not set")
    assert option in result.stderr


def test_it_runs_from_any_folder_through_any_link(tmp_path: Path) -> None:
    """With the environment of its checkout, whatever `cli` lies where it is called."""
    (tmp_path / "facet").symlink_to(ROOT / "bin" / "facet")
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "__init__.py").write_text("raise SystemExit(9)")
    output = subprocess.run(
        [tmp_path / "facet", "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (output.returncode, output.stderr) == (0, "")
    assert output.stdout.startswith("Usage: facet ")


def test_what_an_encoding_lacks_is_escaped(tmp_path: Path) -> None:
    """A description in another script is no reason to fail."""
    with control_socket(tmp_path) as control:
        control.answers = [{"name": "\u82b1", "version": "1.0"}]
        output = run(
            str(ROOT / "bin" / "facet"),
            *("models", "unregister", "x"),
            FACET_STATE_DIR=str(tmp_path),
            PYTHONIOENCODING="latin-1",
        )
    assert (output.returncode, output.stdout) == (0, "\\u82b1 1.0 is unregistered\n")


def test_a_reader_that_goes_away_ends_it_without_a_traceback(tmp_path: Path) -> None:
    """As `facet models list | head` does."""
    with control_socket(tmp_path) as control:
        control.answers = [{"models": []}]
        read, write = os.pipe()
        os.close(read)
        output = subprocess.run(
            [ROOT / "bin" / "facet", "models", "list"],
            env={**os.environ, "FACET_STATE_DIR": str(tmp_path)},
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
        os.close(write)
    assert (output.returncode, output.stderr) == (1, "")


@pytest.mark.parametrize(
    ("shell", "environ", "answer"),
    [
        ("bash", {"COMP_WORDS": "facet models reg", "COMP_CWORD": "2"}, "plain,register\n"),
        ("zsh", {"COMP_WORDS": "facet models reg", "COMP_CWORD": "2"}, "plain\nregister\n"),
        ("fish", {"COMP_WORDS": "facet detect ", "COMP_CWORD": "--ann"}, "plain,--annotated\t"),
    ],
)
def test_shells_are_told_what_can_be_typed(shell: str, environ: dict[str, str], answer: str) -> None:
    """By the script that the page names."""
    assert f"{shell}_source" in PAGE
    program = str(ROOT / "bin" / "facet")
    assert "_FACET_COMPLETE" in run(program, _FACET_COMPLETE=f"{shell}_source").stdout
    found = run(program, _FACET_COMPLETE=f"{shell}_complete", **environ)
    assert found.stdout.startswith(answer)
