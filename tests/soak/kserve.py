"""The clients of the kserve package as callers of a model, in processes that live as long as the soak."""

import json
import os
import subprocess
from pathlib import Path
from typing import Self

from tests.soak.endpoints import Answer
from tests.soak.identities import Account
from tests.soak.model_callers import MODEL, compared
from tests.support.processes import PATIENCE, ROOT


class KServe:
    """One client, in its process.

    Args:
        python: The interpreter of its environment.
        protocol: `grpc` or `http`.
        address: Of that.
        account: Whose key and certificate it shows.
    """

    def __init__(self, python: Path, protocol: str, address: str, account: Account) -> None:
        self._protocol, self._account = {"grpc": "gRPC", "http": "HTTP"}[protocol], account
        assert account.pair is not None
        files = [str(file) for file in (account.ca, account.pair.cert, account.pair.key)]
        # Without -P a module of ours would hide one of the package's.
        command = [
            str(python),
            "-P",
            str(ROOT / "tests/support/kserve_client.py"),
            protocol,
            address,
            MODEL,
            *files,
        ]
        pipe, environ = subprocess.PIPE, {**os.environ, "FACET_API_KEY": account.key}
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environ
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
        if "text" not in said:
            return Answer(**said)
        self._account.count(self._protocol)
        return compared(picture, said["text"])

    def close(self) -> None:
        """Stay, for the next event."""

    def end(self) -> None:
        """End the process."""
        self._process.communicate(timeout=PATIENCE)
