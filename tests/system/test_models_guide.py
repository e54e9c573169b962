"""What docs/first_model.md tells an author to type does what it says, in the order of the page."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.facet import facet
from tests.support.guide import BLOCK, Reader
from tests.support.processes import ROOT

GUIDE = (ROOT / "docs/first_model.md").read_text()
ANSWER = '{"share":0.5,"loud":false}'


@pytest.fixture
def author(tmp_path: Path) -> Iterator[Reader]:
    """Somebody with a running service."""
    environ = Reader.environ_in(tmp_path)
    with facet(**environ) as service:
        places = {"127.0.0.1:8000": service.http, "127.0.0.1:50051": service.grpc}
        yield Reader(tmp_path, GUIDE, places, environ)


def test_an_author_who_follows_the_guide_has_a_model_in_two_versions(author: Reader) -> None:
    """From a class to its calls from everywhere, and on to the next version."""
    installed, tried, registered, called, asked, protos, compiled, typed, *later = author.follow()
    assert asked == "{'share': 0.5, 'loud': False}"
    assert tried == f"[{asked}]"
    assert registered == "loud 1.0 is ready with 2 workers"
    assert called == ANSWER
    assert [Path(line).name for line in protos.splitlines()].count("loud.proto") == 2
    assert typed == "0.5 False"
    assert installed == compiled == ""
    numbered, added, _, second, newer, *_ = later
    assert numbered.splitlines() == ["loud_input.text = 1", "loud_output.share = 1", "loud_output.loud = 2"]
    assert added == "loud_output.letters = 3"
    assert second == "loud 1.1 is ready with 1 worker"
    assert newer == '{"letters":10,"share":0.5,"loud":false}'
    listed = author.type("bin/facet models list")
    assert re.findall(r"^loud +(\S+)", listed, re.MULTILINE) == ["1.1"]
    # A client that was compiled before goes on as it was, and folders in the store name classes, too.
    assert author.type(".venv/bin/python ../client/call.py") == "0.5 False"
    author.type("bin/facet models register stored")
    curl = "curl -H 'Content-Type: application/json' -d '{\"text\": \"1\"}' http://127.0.0.1:8000/models/stored/7/predict"
    assert '"reason":"INVALID_INPUT"' in author.type(curl).replace(": ", ":")


def test_the_model_of_the_guide_is_short() -> None:
    """A reader has it in view."""
    [model] = [
        text for language, text, _ in BLOCK.findall(GUIDE) if "(Model)" in text and language == "python"
    ]
    assert len(model.splitlines()) < 40
