"""Rules of what is published: every reader, in whatever process, sees the newest, and each of them whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference_server.dispatch.publication import Publication

ROOT = Path(__file__).parents[2]

READER = """
import sys
from inference_server.dispatch.publication import Publication
from tests.unit.test_dispatch_publication import content_of

publication, seen = Publication(int(sys.argv[1])), set()
print("reading", flush=True)
while len(seen) < 200:
    before = publication.generation
    generation, content = publication.read()
    assert content == content_of(generation), f"{generation} is torn"
    assert before <= generation <= publication.generation, "it went backwards"
    seen.add(generation)
"""


def content_of(generation: int) -> bytes:
    """What the writer publishes as this generation, all of it other than in others; at first nothing."""
    return b"%08d" % generation * (generation % 5 * 20_000 + 1) if generation else b""


def test_what_was_published_last_is_read() -> None:
    """Also where it is shorter than what was before; each has a number of its own."""
    publication = Publication.create()
    assert (publication.generation, publication.read()) == (0, (0, b""))
    for generation, content in enumerate([b"first", b"second", b"3", b"", b"fifth"], start=1):
        assert publication.publish(content) == generation
        assert publication.generation == generation
        assert publication.read() == (generation, content)
    os.close(publication.descriptor)


def test_another_process_never_reads_a_half_of_what_is_published_meanwhile() -> None:
    """It reads on and on while the writer writes on and on."""
    publication = Publication.create()
    command = [sys.executable, "-c", READER, str(publication.descriptor)]
    with subprocess.Popen(
        command, pass_fds=[publication.descriptor], stdout=subprocess.PIPE, cwd=ROOT
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"reading\n"
        while reader.poll() is None:
            publication.publish(content_of(publication.generation + 1))
    assert reader.returncode == 0
    os.close(publication.descriptor)


def test_what_cannot_be_written_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one stays."""
    publication = Publication.create()
    publication.publish(b"first")
    monkeypatch.setattr(os, "pwrite", lambda _descriptor, content, _place: len(content) - 1)
    with pytest.raises(OSError, match="memory"):
        publication.publish(b"second")
    assert publication.read() == (1, b"first")
    os.close(publication.descriptor)
