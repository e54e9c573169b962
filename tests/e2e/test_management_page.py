"""What docs/management.md shows works as it stands: every curl line, in its order, against a real backend."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.support.admin import managed
from tests.support.keys import KeyFile
from tests.support.processes import PATIENCE, ROOT
from utils.api_keys import MANAGE

PAGE = (ROOT / "docs" / "management.md").read_text()
SHOWN = re.compile(r"(?m)^    (curl .*)|^```json\n([^`]*)^```|^(20\d)(?: and `(\{[^`…]*\})`)?")
"""A command; an answer in full; a status, and a short answer."""


def members(document: Any) -> Any:  # noqa: ANN401 - JSON
    """The names in a document, and in those of its lists and objects that are not empty."""
    match document:
        case dict():
            return {name: members(value) for name, value in document.items() if value not in ([], {})}
        case [first, *_]:
            return [members(first)]
        case _:
            return None


def test_every_command_is_answered_as_the_page_says(tmp_path: Path) -> None:
    """With the status, and with the members, or the very answer where it is short."""
    commands = [command for command, *_ in SHOWN.findall(PAGE) if command]
    assert len(commands) == 16
    keys = KeyFile(tmp_path)
    secret = keys.add("operators", MANAGE)
    (tmp_path / "operators.key").write_text(secret)
    # The page drains the backend before it changes its models.
    page = "".join(
        sorted(re.split(r"(?m)^(?=### )", PAGE), key=lambda part: part.startswith("### `POST /drain"))
    )
    with managed(tmp_path, **keys.environ) as served:
        answered: tuple[int, Any] = (0, None)
        for command, full, status, short in SHOWN.findall(page):
            if command:
                answered = _run(
                    command.replace("operators.key", f"{tmp_path}/operators.key"), secret, served.address
                )
                assert answered[0] in {200, 201, 202}, command
            elif full:
                assert members(json.loads(full)).items() <= members(answered[1]).items()
            else:
                assert answered[0] == int(status)
                assert not short or answered[1] == json.loads(short)
        assert served.backend.process.wait() == 0


def _run(command: str, secret: str, address: str) -> tuple[int, Any]:
    """Type a command, with the key that this backend demands; gives status and answer."""
    there = command.replace("127.0.0.1:8002", address)
    if "Authorization" not in there:
        there += f" -H 'Authorization: Bearer {secret}'"
    typed = ["sh", "-ec", there + " -s -w '\\n%{http_code}'"]
    done = subprocess.run(
        typed,
        env={**os.environ, "no_proxy": "*"},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    body, _, status = done.stdout.rpartition("\n")
    is_json = body.startswith("{")
    return int(status), json.loads(body) if is_json else body
