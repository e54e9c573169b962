"""The clients of the kserve package as callers of a model, in processes that live as long as the soak."""

import json
import subprocess
from pathlib import Path
from typing import Self

from tests.soak.endpoints import Answer
from tests.soak.model_callers import MODEL, compared
from tests.support.processes import PATIENCE, ROOT


class KServe:
    """One client, in its process.

    Args:
        python: The interpreter of its environment.
        protocol: `grpc` or `http`.
        address: Of that.
    """

    def __init__(self, python: Path, protocol: str, address: str) -> None:
        # Without -P a module of ours would hide one of the package's.
        command = [str(python), "-P", str(ROOT / "tests/support/kserve_client.py"), protocol, address, MODEL]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def connect(self) -> Self:
        """Itself: there is one for all events."""
        return self

    def ask(self, picture: bytes) -> Answer:
        """Have the model answer; one at a time."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(picture.decode()) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            return Answer(trouble=f"the client of kserve ended with {process.wait(PATIENCE)}")
        said = json.loads(line)
        return compared(picture, said["text"]) if "text" in said else Answer(**said)

    def close(self) -> None:
        """Stay, for the next event."""

    def end(self) -> None:
        """End the process."""
        self._process.communicate(timeout=PATIENCE)
