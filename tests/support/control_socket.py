"""A backend's control socket with answers that a test decides, and the command line that asks it."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from cli.facet import facet
from inference_server.catalogue.commands import Answer, Command
from inference_server.catalogue.lines import decode, encode_answer
from tests.support.processes import PATIENCE


class Control:
    """What listens there.

    Attributes:
        folder: The folder of state.
        answers: What the next commands are answered with, in this order.
        commands: Those that came.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: list[Answer] = []
        self.commands: list[Command] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(folder / "control.sock"))
        self._socket.listen()
        self._thread = threading.Thread(target=self._answer_all, daemon=True)
        self._thread.start()

    def run(self, *arguments: str) -> Result:
        """Run `facet models` with this folder of state."""
        return CliRunner(env={"FACET_STATE_DIR": str(self.folder)}).invoke(
            facet, ["models", *arguments], prog_name="facet"
        )

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._socket.close()

    def _answer_all(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # it was shut down
                return
            with connection, connection.makefile("rb") as file:
                self.commands.append(decode(file.readline()))
                connection.sendall(encode_answer(self.answers.pop(0)))


@contextlib.contextmanager
def control_socket(folder: Path) -> Iterator[Control]:
    """One that is closed when the test ends."""
    control = Control(folder)
    try:
        yield control
    finally:
        control.close()


def described(name: str = "iris", version: str = "1.0", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """What a backend says of a version."""
    return {
        "name": name,
        "version": version,
        "state": "ready",
        "failure": "",
        "default": True,
        "canary": 0,
        "url": name,
        "kind": "onnx",
        "queue": 3,
        "settings": {"min_workers": 2, "max_batch_delay": 0.05},
        "workers": 2,
        "ready_workers": 2,
        "processes": [
            {"pid": 11, "slot": 40, "state": "ready", "started": 1.7e9, "memory_bytes": 50 << 20},
            {"pid": 12, "slot": 41, "state": "starting", "started": 1.7e9, "memory_bytes": 9 << 20},
        ],
        "waiting": 3,
        "loaded_at_start": False,
        **changes,
    }
