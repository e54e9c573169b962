"""Rules of what a backend remembers of its models, and of what the gateway shows of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_server.catalogue import commands
from tests.support import gateway_process, processes
from tests.support.facet import ROOMY
from tests.support.gateway_process import Gateway
from tests.support.model_backend import COMMAND, clients, model_backend, wait_for_state
from tests.support.processes import wait_until
from utils.errors import BackendUnavailable, ModelNotFound, StateNotWritable


def test_a_second_backend_changes_nothing_of_the_first_ones_models(tmp_path: Path) -> None:
    """It has the same folder of state: it serves what is remembered, and says that it can change nothing."""
    with model_backend(tmp_path) as first:
        first.register("echo")
        with model_backend(tmp_path) as second:
            [line] = second.process.logged("state folder not usable")
            assert line["reason"] == "another backend has the folder"
            wait_until(lambda: bool(second.process.logged("model ready")), "it has loaded the model")
            with clients(second.address, 1) as [client]:
                assert client.predict("echo", {"text": "a"}) == {"text": "a"}
            first.unregister("echo")  # whoever asks, the first one answers
            with clients(second.address, 1) as [client]:
                assert client.predict("echo", {"text": "a"}) == {"text": "a"}
        first.register("echo")
        with clients(first.address, 1) as [client]:
            assert client.predict("echo", {"text": "a"}) == {"text": "a"}


def test_a_backend_without_a_folder_of_state_serves_faces(tmp_path: Path) -> None:
    """Where the folder should be is a file: nobody can reach it with changes, and the log says why."""
    (tmp_path / "state").write_text("")
    with model_backend(tmp_path) as running:
        [line] = running.process.logged("state folder not usable")
        assert (line["level"], line["reason"]) == ("warning", "FACET_STATE_DIR names no folder")
        with pytest.raises(BackendUnavailable):
            running.manage(commands.ListModels())
        with clients(running.address, 1) as [client], pytest.raises(ModelNotFound):
            client.predict("echo", {})
    assert (tmp_path / "state").read_text() == ""


def test_a_change_that_cannot_be_written_down_is_not_made(tmp_path: Path) -> None:
    """What was served is served on, and is what another start finds."""
    with model_backend(tmp_path) as running:
        running.register("echo")
        blocked = running.state / "catalogue.json.new"  # where the next state would be written
        blocked.mkdir()
        for change in (
            commands.Register("echo", "other"),
            commands.Unregister("echo"),
            commands.Scale("echo", "", 2, 2),
        ):
            with pytest.raises(StateNotWritable):
                running.manage(change)
        assert running.listed() == {"face_detection/1.0": "ready", "echo/1.0": "ready"}
        with clients(running.address, 1) as [client]:
            assert client.predict("echo", {"text": "a"}) == {"text": "a"}
            with pytest.raises(ModelNotFound):
                client.predict("other", {"text": "a"})
    with model_backend(tmp_path) as running:
        wait_for_state(running, "echo/1.0", "ready")
        assert len(running.model_workers()) == 1


@pytest.mark.security(
    endpoint="files",
    attack="A damaged file of state",
    outcome="The start ends with one line",
)
@pytest.mark.parametrize("content", ["", "{", '{"format": 1, "versions": 3}', '{"format": 99}'])
def test_a_damaged_state_ends_the_start_with_one_line(tmp_path: Path, content: str) -> None:
    """And is left as it is."""
    (tmp_path / "state").mkdir()
    file = tmp_path / "state" / "catalogue.json"
    file.write_text(content)
    environ = {**ROOMY, "FACET_GRPC_ADDRESS": "127.0.0.1:0", "FACET_STATE_DIR": str(tmp_path / "state")}
    with processes.running(COMMAND, **environ) as process:
        assert process.wait() == 1
        [line] = process.lines
    assert str(file) in line
    assert "Traceback" not in line
    assert file.read_text() == content


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Before a backend with two models, one of them without processes."""
    with model_backend(tmp_path_factory.mktemp("backend")) as backend:
        backend.register("echo")
        backend.register("echo", name="idle", min_workers=0)
        with gateway_process.gateway(backend.address) as running:
            yield running


def test_the_gateway_lists_the_models_of_its_backend(gateway: Gateway) -> None:
    """With their states; and each by itself, with its schemas."""
    listed = {model["name"]: model for model in gateway.get("/models").json["models"]}
    states = {name: model["state"] for name, model in listed.items()}
    assert states == {"echo": "ready", "face_detection": "ready", "idle": "idle"}
    echo = gateway.get("/models/echo").json
    assert gateway.get("/models/echo/1.0").json == echo
    assert echo["name"] == "echo"
    assert set(echo["input_schema"]["properties"]) == {"text", "repeat", "sleep_seconds", "fail"}
    assert gateway.get("/models/face_detection").json["input_schema"]["required"] == ["image"]
    missing = gateway.get("/models/none")
    assert (missing.status, missing.json["reason"]) == (404, "MODEL_NOT_FOUND")
