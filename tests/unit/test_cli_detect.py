"""Rules of `facet detect` that need no detection: what is searched, what is refused, what is gone on with."""

import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.detect.output import go_on, open_output
from cli.detect.pictures import Pictures, Problem
from cli.detect.records import Record, from_json, to_json
from cli.doctor import machine
from cli.facet import facet
from cli.failure import Failure
from inference_server.models.conversion import prepare
from utils.settings import Settings


def run(*arguments: str | Path) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(facet, ["detect", *map(str, arguments)], prog_name="facet")


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files with these names, beside which paths are typed."""
    for name in ("b.jpg", "a.PNG", "notes.txt", "deep/c.heic", ".hidden/d.gif", "drawn/e.jpg"):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "album"


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (["album/notes.txt"], ["album/notes.txt"]),
        (["album/deep"], ["album/deep/c.heic"]),
        (["album"], ["a.PNG", "b.jpg", ".hidden/d.gif", "deep/c.heic"]),
        (["album/*.*"], ["a.PNG", "b.jpg", "notes.txt"]),
        (["album/**/c.*", "album/deep/c.heic", "album/deep"], ["deep/c.heic"]),
    ],
)
def test_each_file_that_is_meant_is_searched_once(album: Path, typed: list[str], found: list[str]) -> None:
    """In order; of a folder those with names of pictures, but for what the command writes itself."""
    pictures = Pictures(typed, [album / "drawn"])
    paths = [picture.path.removeprefix("album/") for picture in pictures]
    assert paths == [path.removeprefix("album/") for path in found]
    assert pictures.count == len(found)


def test_a_file_is_known_again_by_path_size_and_time(album: Path) -> None:
    """What is done is left out, until it has changed."""
    done = {picture.key for picture in Pictures(["album"])}
    (album / "b.jpg").write_text("longer")
    left = Pictures(["album"], done=done)
    assert [picture.path for picture in left] == ["album/b.jpg"]
    assert left.left_out == len(done) - 1


def test_a_file_that_goes_away_is_a_problem_of_its_own(album: Path) -> None:
    """As is a folder that cannot be read; others are searched."""
    pictures = Pictures(["album/a.PNG"])
    (album / "a.PNG").unlink()
    [picture] = pictures
    with pytest.raises(FileNotFoundError):
        picture.read(100)


@pytest.mark.usefixtures("album")
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "Missing argument"),
        ("gone.jpg", "there is no 'gone.jpg'"),
        ("album/*.bmp", "nothing matches it"),
        ("album --resume", "--resume needs --output"),
        ("album --resume --output o --format csv", "--resume needs --output, in NDJSON"),
        ("- --resume --output o", "pictures that are files"),
        ("album --resume --force --output o", "one of the two"),
        ("album --output album/notes.txt", "is not empty"),
        ("album --local --address 127.0.0.1:1", "--local calls no service"),
        ("album --processes 2", "--processes is for --local"),
        ("album --min-face-size 5", "10.0<=x<=2000.0"),
        ("album --max-faces 0", "1<=x<=1000"),
        ("album --format xml", "'table', 'ndjson', 'csv'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_searched(line: str, said: str) -> None:
    """With the usage, and status 2."""
    result = run(*line.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())


def line_of(path: str) -> bytes:
    """A line of a result."""
    [picture] = Pictures([path])
    return to_json(Record(picture, Problem("BROKEN_IMAGE", "It is broken."))).encode()


@pytest.mark.usefixtures("album")
def test_a_result_is_gone_on_with_from_its_last_whole_line() -> None:
    """What follows that is cut."""
    whole = line_of("album/a.PNG") + line_of("album/b.jpg")
    path = Path("out.ndjson")
    path.write_bytes(whole + line_of("album/notes.txt")[:-1])
    with open_output(path) as file:
        done = go_on(file, path)
        assert ({key[0] for key in done.keys}, done.failed) == ({"album/a.PNG", "album/b.jpg"}, 2)
        file.write(b"more\n")
    assert path.read_bytes() == whole + b"more\n"


@pytest.mark.parametrize("line", [b"{}", b"[1]", b"nothing", b'{"path": 1}', b"\xff"])
def test_a_file_that_is_no_result_stays_as_it_is(tmp_path: Path, line: bytes) -> None:
    """Whoever named it is told which line is none."""
    path = tmp_path / "out"
    path.write_bytes(line + b"\n")
    with open_output(path) as file, pytest.raises(Failure, match="line 1"):
        go_on(file, path)
    assert path.read_bytes() == line + b"\n"


@pytest.mark.usefixtures("album")
def test_a_line_says_how_its_picture_is_known_again() -> None:
    """Also where its name is no text."""
    odd = b"album/odd-\xff.jpg"
    Path(os.fsdecode(odd)).touch()
    line = line_of(os.fsdecode(odd))
    key, found = from_json(line)
    assert (os.fsencode(key[0]), key[1], found) == (odd, 0, False)
    assert json.loads(line)["problem"] == {"reason": "BROKEN_IMAGE", "detail": "It is broken."}


@pytest.mark.usefixtures("album")
def test_where_clients_alone_are_installed_a_local_search_says_what_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a line, before anything is started."""
    monkeypatch.setattr("cli.detect.local.find_spec", lambda _name: None)
    result = run("album", "--local")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("facet: NOT_INSTALLED: this command needs numpy")


def test_the_doctor_names_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By who needs it."""
    monkeypatch.setattr(machine, "find_spec", lambda name: None if name == "honcho" else find_spec(name))
    result = CliRunner().invoke(facet, ["doctor"], prog_name="facet")
    assert result.exit_code == 1
    assert "facet serve: honcho not installed" in result.stdout


def test_the_doctor_lets_a_cache_be_read_only_that_has_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in a container; an empty one is an error."""
    settings = Settings.from_environ({})
    assert prepare(settings.cache_dir) is None
    monkeypatch.setattr(os, "access", lambda *_: False)
    full = CliRunner().invoke(facet, ["doctor"], prog_name="facet")
    assert f"FACET_CACHE_DIR: {settings.cache_dir}, complete" in full.stdout
    monkeypatch.setenv("FACET_CACHE_DIR", str(tmp_path))
    empty = CliRunner().invoke(facet, ["doctor"], prog_name="facet")
    assert f"{tmp_path} cannot be written" in empty.stdout
