"""Rules of `facet detect`, through a real backend and by processes of its own."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.facet import free_port, inference
from tests.support.keys import KeyFile
from tests.support.pictures import ASTRONAUT, encoded, group_photo
from tests.support.processes import PATIENCE, ROOT, Process, alive, children, running, wait_until
from tests.support.terminal import on_terminal
from utils.detection_json import detection_document
from utils.domain import DetectOptions, DetectRequest
from utils.service_client import ServiceClient

DETECT = [sys.executable, "-m", "cli", "detect"]
LOCAL = ["--local", "--processes", "2"]
MANY = 12


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The address of a backend."""
    with inference() as (_, address):
        yield address


@pytest.fixture(params=["service", "local"])
def way(request: pytest.FixtureRequest) -> list[str]:
    """How faces are found, as options."""
    return LOCAL if request.param == "local" else ["--address", request.getfixturevalue("service")]


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two pictures, one of them deeper, one that is broken, and a text."""
    folder = tmp_path_factory.mktemp("album")
    (folder / "a.png").write_bytes(ASTRONAUT.read_bytes())
    (folder / "deep").mkdir()
    (folder / "deep" / "b.JPG").write_bytes(encoded(group_photo(), "JPEG"))
    (folder / "deep" / "c.jpg").write_bytes(encoded(group_photo(), "JPEG")[:500])
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures that take a while."""
    folder = tmp_path_factory.mktemp("archive")
    picture = encoded(group_photo(1600, 1200), "JPEG")
    for number in range(MANY):
        (folder / f"{number:02}.jpg").write_bytes(picture)
    return folder


def detect(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end."""
    command = [*DETECT, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, timeout=PATIENCE, check=False)


def lines(text: bytes) -> dict[str, dict[str, Any]]:
    """Lines of NDJSON by their paths, of which each is there once."""
    found = [json.loads(line) for line in text.splitlines()]
    by_path = {line["path"]: line for line in found}
    assert len(by_path) == len(found)
    return by_path


def whole(path: Path) -> int:
    """How many whole lines a file has."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_each_picture_of_a_folder_has_a_line_with_its_faces_or_its_problem(
    way: list[str], service: str, album: Path
) -> None:
    """Its faces are those that a client gets; a text among the pictures is none."""
    ended = detect(*way, album, "--min-face-size", "40")
    found = lines(ended.stdout)
    names = {name: str(album / name) for name in ("a.png", "deep/b.JPG", "deep/c.jpg")}
    assert set(found) == set(names.values())
    with ServiceClient(service, timeout=PATIENCE) as client:
        for name in ("a.png", "deep/b.JPG"):
            request = DetectRequest((album / name).read_bytes(), DetectOptions(min_face_size=40))
            document = detection_document(client.detect(request))
            line = found[names[name]]
            assert line["results"] == document["results"]
            assert line["size"] == (album / name).stat().st_size
    assert found[names["deep/c.jpg"]]["problem"]["reason"] == "BROKEN_IMAGE"
    assert ended.returncode == 1
    assert b"3 pictures: 2 searched, " in ended.stderr
    assert b"1 failed (BROKEN_IMAGE 1)" in ended.stderr


def test_a_file_that_is_named_is_searched_whatever_it_is_called(
    way: list[str], album: Path, tmp_path: Path
) -> None:
    """Also by a list of files; what is wrong with it is said in its place."""
    empty = tmp_path / "empty"
    empty.touch()
    listed = f"{album / 'notes.txt'}\n{empty}\n".encode()
    ended = detect(*way, "--files-from", "-", album / "a.png", stdin=listed)
    found = lines(ended.stdout)
    reasons = {Path(path).name: line.get("problem", {}).get("reason") for path, line in found.items()}
    assert reasons == {"notes.txt": "UNSUPPORTED_IMAGE_FORMAT", "empty": "IMAGE_EMPTY", "a.png": None}
    assert ended.returncode == 1


def test_a_picture_comes_by_standard_input(way: list[str]) -> None:
    """It has no time, and its path is `-`."""
    ended = detect(*way, "-", stdin=ASTRONAUT.read_bytes())
    [line] = lines(ended.stdout).values()
    assert (line["path"], line["modified"], len(line["results"])) == ("-", None, 1)
    assert ended.returncode == 0


def test_pictures_are_written_below_the_folders_that_ask_for_them(
    way: list[str], album: Path, tmp_path: Path
) -> None:
    """One with the faces drawn in for each picture, and one for each face; the lines have their paths."""
    ended = detect(
        *way, album / "deep" / "b.JPG", "--annotated", tmp_path / "drawn", "--crops", tmp_path / "faces"
    )
    [line] = lines(ended.stdout).values()
    place = Path(*(album / "deep" / "b.JPG").parts[1:])
    assert line["annotated"] == str(tmp_path / "drawn" / place)
    assert Path(line["annotated"]).read_bytes().startswith(b"\xff\xd8")
    crops = sorted((tmp_path / "faces" / place).iterdir())
    assert len(crops) == len(line["results"]) > 1
    assert "crop" not in line["results"][0]


def test_a_table_has_a_row_for_each_face_and_for_each_picture_without_one(album: Path, service: str) -> None:
    """In CSV, with names of files as their bytes are."""
    odd = os.fsencode(album) + b"/odd-\xff.png"
    Path(os.fsdecode(odd)).write_bytes(ASTRONAUT.read_bytes())
    ended = detect("--address", service, album, "--format", "csv")
    Path(os.fsdecode(odd)).unlink()
    assert odd in ended.stdout
    rows = list(csv.DictReader(ended.stdout.decode(errors="surrogateescape").splitlines()))
    assert {row["faces"]: row["face"] for row in rows}["1"] == "1"
    assert [row["reason"] for row in rows if not row["faces"]] == ["BROKEN_IMAGE"]
    [face] = [row for row in rows if row["path"].endswith("a.png")]
    assert float(face["left"]) < float(face["left_eye_x"]) < float(face["nose_x"]) < float(face["right"])


def test_a_terminal_gets_a_table_and_a_line_that_shows_the_progress(archive: Path) -> None:
    """The line is on standard error, and gone in the end; a program gets neither."""
    status, text = on_terminal([*DETECT, *LOCAL, str(archive)], {})
    assert status == 0
    rows = [line.rpartition("\x1b[K")[2] for line in text.splitlines()]
    assert "FACES" in rows[0]
    assert sum(bool(re.fullmatch(r" +\d+ +1600 x 1200 +\d+  /\S+\.jpg", row)) for row in rows) == MANY
    assert f"/{MANY}  " in text
    assert rows[-1].startswith(f"{MANY} pictures: {MANY} searched")
    ended = detect(*LOCAL, archive / "00.jpg")
    assert b"\x1b" not in ended.stdout + ended.stderr


def test_progress_is_shown_while_the_results_go_to_a_file(archive: Path, tmp_path: Path) -> None:
    """And they are NDJSON there."""
    status, text = on_terminal([*DETECT, *LOCAL, str(archive)], {}, stdout=tmp_path / "out")
    assert status == 0
    assert "#" in text
    assert len(lines((tmp_path / "out").read_bytes())) == MANY


def test_what_is_killed_goes_on_where_it_was(way: list[str], archive: Path, tmp_path: Path) -> None:
    """Each picture has one line in the end, also where the last one was cut."""
    output = tmp_path / "out.ndjson"
    command = [*DETECT, *way, str(archive), "--output", str(output)]
    with running(command) as process:
        wait_until(lambda: whole(output) >= 2, "some lines")
        family = process.children()
        process.send(signal.SIGKILL)
        process.wait()
        wait_until(lambda: not any(map(alive, family)), "no process is left")
    had = whole(output)
    assert had < MANY
    with output.open("ab") as file:
        file.write(b'{"path":"torn')
    ended = detect(*way, archive, "--output", output, "--resume")
    assert (ended.returncode, len(lines(output.read_bytes()))) == (0, MANY)
    assert f"{had} were in the output".encode() in ended.stderr


def test_ctrl_c_finishes_what_was_begun(way: list[str], archive: Path, tmp_path: Path) -> None:
    """It says what is left, and how to go on; the status is that of shells."""
    output = tmp_path / "out.ndjson"
    with running([*DETECT, *way, str(archive), str(archive / ".."), "--output", str(output)]) as process:
        wait_until(lambda: whole(output) >= 1, "a line")
        process.send_group(signal.SIGINT)
        assert process.wait() == 130
        assert "--resume" in process.log()
    assert lines(output.read_bytes())
    assert output.read_bytes().endswith(b"\n")


def test_a_second_ctrl_c_cuts_it(archive: Path, tmp_path: Path) -> None:
    """No process is left, and no line is torn."""
    output = tmp_path / "out.ndjson"
    with running([*DETECT, *LOCAL, str(archive), "--output", str(output)]) as process:
        wait_until(lambda: whole(output) >= 1, "a line")
        family = process.children()
        for pid in filter(_is_worker, family):  # so that what was begun is never finished
            os.kill(pid, signal.SIGSTOP)
        process.send_group(signal.SIGINT)
        wait_until(lambda: "once more" in process.log(), "what the first one does")
        process.send_group(signal.SIGINT)
        assert process.wait() == 130
        wait_until(lambda: not any(map(alive, family)), "no process is left")
    assert output.read_bytes().endswith(b"\n")


def test_a_picture_that_has_changed_is_searched_again(way: list[str], album: Path, tmp_path: Path) -> None:
    """Others are not, also those that failed: the status still says so."""
    mine, output = tmp_path / "album", tmp_path / "out.ndjson"
    shutil.copytree(album, mine)
    detect(*way, mine, "--output", output)
    (mine / "a.png").write_bytes((mine / "deep" / "b.JPG").read_bytes())
    ended = detect(*way, mine, "--output", output, "--resume")
    assert ended.returncode == 1
    assert b"3 pictures: 1 searched" in ended.stderr
    assert b"2 were in the output (1 of its lines is a failure)" in ended.stderr
    again = [json.loads(line) for line in output.read_bytes().splitlines()]
    assert [Path(line["path"]).name for line in again].count("a.png") == 2


def test_a_process_that_dies_takes_one_picture_along(archive: Path) -> None:
    """Another one is in its place."""
    with running([*DETECT, *LOCAL, str(archive)]) as process:
        wait_until(lambda: len(process.lines) >= 1, "a line")
        searching = [child for child in process.children() if _is_worker(child)]
        os.kill(searching[0], signal.SIGKILL)
        assert process.wait() == 1
        found = [json.loads(line) for line in process.lines if line.startswith("{")]
    problems = [line["problem"]["reason"] for line in found if "problem" in line]
    assert (len(found), problems) == (MANY, ["WORKER_CRASHED"])


def test_a_process_that_hangs_is_replaced_after_the_time_of_its_picture(archive: Path) -> None:
    """That picture alone fails."""
    with running([*DETECT, *LOCAL, "--timeout", "5", str(archive)]) as process:
        wait_until(lambda: len(process.lines) >= 1, "a line")
        stopped = next(child for child in process.children() if _is_worker(child))
        os.kill(stopped, signal.SIGSTOP)
        assert process.wait() == 1
        assert not alive(stopped)
        found = [json.loads(line) for line in process.lines if line.startswith("{")]
    [problem] = [line["problem"] for line in found if "problem" in line]
    assert (len(found), problem["reason"]) == (MANY, "DEADLINE_EXCEEDED")
    assert "5 s" in problem["detail"]


def _is_worker(pid: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_service_that_is_restarted_fails_no_picture(archive: Path, tmp_path: Path) -> None:
    """It is waited for."""
    address, output = f"127.0.0.1:{free_port()}", tmp_path / "out.ndjson"
    command = [*DETECT, "--address", address, str(archive), "--output", str(output)]
    with inference(FACET_GRPC_ADDRESS=address) as (first, _), running(command) as process:
        wait_until(lambda: whole(output) >= 1, "a line")
        _kill(first)
        with inference(FACET_GRPC_ADDRESS=address):
            assert process.wait() == 0, process.log()
    found = lines(output.read_bytes())
    assert len(found) == MANY
    assert not any("problem" in line for line in found.values())


def _kill(process: Process) -> None:
    family = children(process.pid)
    process.send(signal.SIGKILL)
    wait_until(lambda: not any(map(alive, family)), "the workers have ended")


def test_nobody_at_the_address_is_a_status_of_its_own(album: Path) -> None:
    """3, and nothing is written."""
    address = f"127.0.0.1:{free_port()}"
    ended = detect("--address", address, album)
    assert (ended.returncode, ended.stdout) == (3, b"")
    assert ended.stderr.startswith(f"facet: BACKEND_UNAVAILABLE: No service answers at {address}".encode())


def test_a_service_that_demands_a_key_is_shown_that_of_the_environment(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one, the first answer ends it: no picture has failed."""
    keys = KeyFile(tmp_path)
    secret = keys.add("archive", "predict")
    with inference(**keys.environ) as (_, address):
        refused = detect("--address", address, album)
        monkeypatch.setenv("FACET_API_KEY", secret)
        searched = detect("--address", address, album / "a.png")
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"\nfacet: KEY_MISSING: " in refused.stderr
    assert searched.returncode == 0


def test_a_service_with_mutual_tls_is_called_as_the_environment_says(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a certificate that the authority has issued there is no answer."""
    authority = Authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("client")
    environ = {
        "FACET_TLS_CERT_FILE": str(server.cert),
        "FACET_TLS_KEY_FILE": str(server.key),
        "FACET_TLS_CLIENT_CA_FILE": str(authority.cert),
    }
    with inference(**environ) as (_, address):
        monkeypatch.setenv("FACET_BACKEND_TLS_CA_FILE", str(authority.cert))
        refused = detect("--address", address, album / "a.png")
        monkeypatch.setenv("FACET_BACKEND_TLS_CERT_FILE", str(client.cert))
        monkeypatch.setenv("FACET_BACKEND_TLS_KEY_FILE", str(client.key))
        searched = detect("--address", address, album / "a.png")
    assert (refused.returncode, refused.stdout) == (3, b"")
    assert searched.returncode == 0, searched.stderr


def test_results_have_one_writer(archive: Path, tmp_path: Path) -> None:
    """A second one is refused while there is a first."""
    output = tmp_path / "out.ndjson"
    with running([*DETECT, *LOCAL, str(archive), "--output", str(output)]):
        wait_until(lambda: whole(output) >= 1, "a line")
        ended = detect(*LOCAL, archive, "--output", output, "--resume")
    assert ended.returncode == 1
    assert b"is being written by another process" in ended.stderr
