"""TorchServe's clients in tests."""

import json
import subprocess
import sys
from typing import Any

from tests.support.processes import PATIENCE, ROOT


def called(*calls: dict[str, Any]) -> list[dict[str, Any]]:
    """What a client with TorchServe's own stubs is answered, in a process of its own."""
    command = [sys.executable, str(ROOT / "tests/support/torchserve_client.py")]
    done = subprocess.run(
        command, input=json.dumps(calls), text=True, check=True, capture_output=True, timeout=2 * PATIENCE
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers
