"""Programs on a terminal of their own, as a person sees them."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.processes import PATIENCE, ROOT

_ROWS, _COLUMNS = 24, 100


def on_terminal(
    command: Sequence[str], environ: Mapping[str, str], *, stdout: Path | None = None
) -> tuple[int, str]:
    """Run a command to its end on a terminal; gives its exit status and all that the terminal was sent.

    Args:
        command: What to run.
        environ: Added to the environment.
        stdout: A file in the place of the terminal for standard output.
    """
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    with contextlib.ExitStack() as at_end:
        at_end.callback(os.close, terminal)
        out = end if stdout is None else at_end.enter_context(stdout.open("wb"))
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environ}, stdin=end, stdout=out, stderr=end
        )
        os.close(end)
        sent = b""
        # Linux ends it by an error when nobody has the other end any more.
        with contextlib.suppress(OSError):
            while piece := os.read(terminal, 65536):
                sent += piece
        return process.wait(PATIENCE), sent.decode()
