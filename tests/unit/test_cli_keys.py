"""Rules of `facet keys`."""

import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.facet import facet
from tests.support.processes import PATIENCE, ROOT
from utils.api_keys import digest_of, read_keys


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the environment, which there is not yet."""
    made = tmp_path / "keys.json"
    monkeypatch.setenv("FACET_API_KEYS_FILE", str(made))
    return made


def run(*arguments: str) -> Result:
    """Type `facet keys` and this."""
    return CliRunner().invoke(facet, ["keys", *arguments], prog_name="facet")


def create(name: str, *arguments: str) -> str:
    """Make a key; gives what is printed."""
    result = run("create", name, *(arguments or ("--scope", "predict")))
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.removesuffix("\n")


def test_a_key_is_shown_once(path: Path) -> None:
    """Alone on standard output, so that it can be sent to a file; the file of keys knows it by its hash."""
    secret = create("shop", "--scope", "predict", "--scope", "manage", "--rate", "2.5", "--burst", "7")
    [key] = read_keys(path)
    assert (key.name, key.digest, key.scopes) == ("shop", digest_of(secret), frozenset({"predict", "manage"}))
    assert (key.rate, key.burst) == (2.5, 7)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for shown in (run("list").stdout, run("list", "--json").stdout, path.read_text()):
        assert secret not in shown


def test_keys_are_listed_with_what_is_known_of_them(path: Path) -> None:
    """For people and for programs."""
    create("shop", "--scope", "predict", "--rate", "5")
    create("gateway", "--scope", "gateway")
    lines = [line.split() for line in run("list").stdout.splitlines()]
    assert lines[0] == ["NAME", "SCOPES", "RATE", "BURST", "CREATED"]
    assert [line[:4] for line in lines[1:]] == [
        ["shop", "predict", "5/s", "5"],
        ["gateway", "gateway", "-", "-"],
    ]
    shop, gateway = json.loads(run("list", "--json").stdout)["keys"]
    assert (shop["rate"], shop["burst"], gateway["rate"], gateway["burst"]) == (5, 5, None, None)
    assert shop["created"] == read_keys(path)[0].created


def test_a_revoked_key_is_gone(path: Path) -> None:
    """And its name is free for another one."""
    first = create("shop")
    create("other")
    assert run("revoke", "shop").stdout == "shop is revoked\n"
    assert [key.name for key in read_keys(path)] == ["other"]
    assert create("shop") != first


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("create", "shop", "--scope", "predict"), 1, "KEY_EXISTS"),
        (("revoke", "nobody"), 1, "KEY_NOT_FOUND"),
        (("create", "a/b", "--scope", "predict"), 2, "the first no mark"),
        (("create", "new"), 2, "--scope"),
        (("create", "new", "--scope", "admin"), 2, "'predict', 'manage', 'metrics', 'gateway'"),
        (("create", "new", "--scope", "predict", "--rate", "nan"), 2, "rate is nan"),
        (("create", "new", "--scope", "predict", "--rate", "0"), 2, "rate is 0"),
        (("create", "new", "--scope", "predict", "--rate", "1", "--burst", "0"), 2, "burst is 0"),
        (("create", "new", "--scope", "predict", "--burst", "9"), 2, "accepted without a rate: none"),
        (("create", "new", "--scope", "gateway", "--rate", "9"), 2, "accepted with the scope gateway: none"),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    path: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    """And is said in a line."""
    create("shop")
    before = path.read_bytes()
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert said in result.stderr
    assert path.read_bytes() == before


def test_a_file_that_is_none_is_never_replaced(path: Path) -> None:
    """By any command; nor is one made where there is no folder."""
    path.write_text("{}")
    path.chmod(0o600)
    for arguments in (("create", "new", "--scope", "predict"), ("revoke", "shop"), ("list",)):
        result = run(*arguments)
        assert (result.exit_code, result.stderr.split(":")[:2]) == (1, ["facet", " KEY_FILE_UNUSABLE"])
    assert path.read_text() == "{}"
    nowhere = path.parent / "nowhere" / "keys.json"
    result = run("create", "new", "--scope", "predict", "--file", str(nowhere))
    assert (result.exit_code, "FILE_ERROR" in result.stderr) == (1, True)


def test_a_file_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the setting or by the option."""
    monkeypatch.delenv("FACET_API_KEYS_FILE", raising=False)
    result = run("list")
    assert (result.exit_code, "INVALID_SETTING: FACET_API_KEYS_FILE is not set" in result.stderr) == (1, True)


def test_keys_that_are_made_at_once_are_all_made(path: Path) -> None:
    """By processes that know nothing of each other."""

    def make(number: int) -> str:
        command = [sys.executable, "-m", "cli", "keys", "create", f"key-{number}", "--scope", "predict"]
        done = subprocess.run(
            [*command, "--file", str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        return done.stdout.strip()

    with ThreadPoolExecutor(4) as threads:
        secrets = [*threads.map(make, range(8))]
    keys = {key.name: key.digest for key in read_keys(path)}
    assert keys == {f"key-{number}": digest_of(secret) for number, secret in enumerate(secrets)}
