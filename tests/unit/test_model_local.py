"""A model in the process that calls it answers as one of a backend does."""

import asyncio
import base64
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from facet_serving import InvalidInput, Model
from inference_server.api.submission import Dispatcher
from inference_server.dispatch.admission import Load
from inference_server.dispatch.work import Work
from inference_server.models.encoding import unpack_answer
from inference_server.models.local import LocalModel, predict
from tests.support.loaded_models import request
from utils.errors import (
    DeadlineExceeded,
    FacetError,
    InvalidModel,
    MalformedRequest,
    ModelFailed,
    ModelLoadFailed,
    ModelNotFound,
)


class Sample(BaseModel):
    content: bytes = b""
    text: str = ""


class Reverses(Model):
    """Turns bytes round, and does what its text says."""

    name = "reverses"
    version = "1.5"
    Input = Sample
    Output = Sample
    gate = threading.Event()
    threads: set[threading.Thread]
    begun: list[bytes]

    def load(self, folder: object, options: object) -> None:  # noqa: ARG002
        Reverses.threads, Reverses.begun = {threading.current_thread()}, []
        self.gate.set()

    def predict(self, inputs: list[Any]) -> list[Any]:
        self.threads.add(threading.current_thread())
        [one] = inputs
        self.begun.append(one.content)
        if one.text == "refuse":
            raise InvalidInput("it is refused", field="text")
        if one.text == "exit":
            sys.exit(1)
        if one.text == "wait":
            assert self.gate.wait(30)
        return [Sample(content=one.content[::-1])]


@pytest.fixture
def local() -> Iterator[LocalModel]:
    """A model that is loaded here."""
    with LocalModel(Reverses) as model:
        yield model


def work(content: bytes, text: str = "", seconds: float = math.inf) -> Work:
    """What a worker would send."""
    made = request("json", {"content": base64.b64encode(content).decode(), "text": text})
    return replace(made, deadline=time.monotonic() + seconds)


def test_an_input_is_answered_as_by_a_backend(local: LocalModel) -> None:
    """Bytes go in as they are, and come out as base64; on one thread, on which it was loaded."""
    assert local.predict({"content": b"abc"}) == {"content": base64.b64encode(b"cba").decode(), "text": ""}
    local.predict({})
    [thread] = Reverses.threads
    assert thread is not threading.current_thread()
    assert (local.card["name"], local.card["version"]) == ("reverses", "1.5")


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"text": 1}, InvalidInput),
        ({"text": "refuse"}, InvalidInput),
        ({"text": object()}, MalformedRequest),
        ({"text": "exit"}, ModelFailed),
    ],
)
def test_errors_are_those_of_a_backend(
    local: LocalModel, inputs: dict[str, Any], expected: type[FacetError]
) -> None:
    """And the next input is answered."""
    with pytest.raises(expected):
        local.predict(inputs)
    assert local.predict({"text": ""})["text"] == ""


def test_a_dispatchers_place_can_be_taken(local: LocalModel) -> None:
    """Works are answered in bytes, in the order in which they come."""
    dispatcher: Dispatcher = local

    async def scene() -> list[bytes]:
        return await asyncio.gather(*(dispatcher.submit(work(one), math.inf) for one in (b"ab", b"cd")))

    answers = [unpack_answer(answer)[0] for answer in asyncio.run(scene())]
    assert answers == [b'{"content":"YmE=","text":""}', b'{"content":"ZGM=","text":""}']
    assert Reverses.begun == [b"ab", b"cd"]


def test_what_comes_or_waits_too_late_is_not_computed(local: LocalModel) -> None:
    """Its caller is told so."""
    with pytest.raises(DeadlineExceeded):
        local.admit(Load(1, 1, 1.0), time.monotonic(), math.inf)
    local.admit(Load(1, 1, 1.0), time.monotonic() + 60, math.inf)

    async def scene() -> None:
        with pytest.raises(DeadlineExceeded):
            await local.submit(work(b"late", seconds=-1))
        Reverses.gate.clear()
        first = asyncio.ensure_future(local.submit(work(b"first", "wait")))
        second = asyncio.ensure_future(local.submit(work(b"second", seconds=0.05)))
        await asyncio.sleep(0.1)  # its deadline
        Reverses.gate.set()
        await first
        with pytest.raises(DeadlineExceeded):
            await second

    asyncio.run(scene())
    assert Reverses.begun == [b"first"]


def test_a_request_whose_caller_leaves_is_not_computed(local: LocalModel) -> None:
    """If it has not begun."""

    async def scene() -> None:
        Reverses.gate.clear()
        first = asyncio.ensure_future(local.submit(work(b"first", "wait")))
        second = asyncio.ensure_future(local.submit(work(b"second")))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        Reverses.gate.set()
        await first
        await local.submit(work(b"third"))

    asyncio.run(scene())
    assert Reverses.begun == [b"first", b"third"]


def test_its_thread_ends_when_it_is_closed() -> None:
    """Also where it could not be loaded."""
    with LocalModel(Reverses):
        [thread] = Reverses.threads
        assert thread.is_alive()
    assert not thread.is_alive()
    before = threading.active_count()
    with pytest.raises(ModelLoadFailed):
        LocalModel(Unloadable)
    assert threading.active_count() == before


class Unloadable(Reverses):
    def load(self, folder: object, options: object) -> None:  # noqa: ARG002
        raise RuntimeError("there is nothing to load")


def test_what_can_be_registered_can_be_loaded_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is built in, and what is in the store that is named, or that of the environment."""
    assert predict("echo", {"text": "a", "repeat": 2}) == {"text": "aa"}
    for number in ("1.9", "1.10"):
        (folder := tmp_path / "mine" / number).mkdir(parents=True)
        (folder / "model.toml").write_text(f'kind = "python"\nclass = "{__name__}:Reverses"\n')
    with LocalModel("mine", tmp_path) as model:
        assert (model.card["name"], model.card["version"]) == ("mine", "1.10")
    monkeypatch.setitem(os.environ, "FACET_MODEL_STORE", str(tmp_path))
    with LocalModel("mine/1.9") as model:
        assert model.card["version"] == "1.9"
    with pytest.raises(ModelNotFound):
        LocalModel("nobody")


class Plain:
    """Of another server."""

    def process_sample(self, image: object) -> Sample:  # noqa: ARG002
        return Sample(text="seen")


class Nameless(Reverses):
    name = ""


def test_a_class_is_called_what_it_says_or_else_by_its_own_name() -> None:
    """As one in the store is called what its folder is."""
    for found, name in ((Reverses, "reverses"), (Nameless, "Nameless"), (Plain, "Plain")):
        with LocalModel(found) as model:
            assert model.card["name"] == name
    with pytest.raises(InvalidModel):
        LocalModel(Sample)


def test_a_class_of_a_notebook_is_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its module is none that could be found anew."""
    notebook = ModuleType("a_notebook")
    source = "class Model(Base):\n    name = 'mine'\n"
    exec(source, notebook.__dict__ | {"Base": Reverses}, notebook.__dict__)  # noqa: S102 - as a notebook does
    notebook.__dict__["Model"].__module__ = "a_notebook"
    monkeypatch.setitem(sys.modules, "a_notebook", notebook)
    assert predict(notebook.__dict__["Model"], {"content": b"ab"})["content"] == "YmE="
