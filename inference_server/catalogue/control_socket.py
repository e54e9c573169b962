"""Sketch: the client's side of the control socket."""

import socket
from pathlib import Path
from typing import Any

from inference_server.catalogue.commands import Command, decode_answer, encode


def call(path: Path, command: Command, timeout: float) -> dict[str, Any]:
    """Have a command executed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.sendall(encode(command))
        with connection.makefile("rb") as file:
            return decode_answer(file.readline())
