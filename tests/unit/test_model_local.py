"""Rules of models in the process of their caller."""

import asyncio
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from facet_serving import InvalidInput, Model
from inference_server.catalogue.entries import Source
from inference_server.dispatch.admission import Load
from inference_server.dispatch.work import Work
from inference_server.models import local
from inference_server.models.encoding import pack_context, unpack_answer
from inference_server.models.local import LocalDispatcher
from utils.errors import DeadlineExceeded, InvalidModel, ModelNotFound
from utils.errors import InvalidInput as Refused


class Reverse(Model):
    """Turns bytes around; waits for `gate` before, and keeps the sizes of its batches."""

    name = "reverse"
    version = "2.5"
    max_batch = 4
    gate = threading.Event()
    batches: list[int] = []  # noqa: RUF012 - shared by all objects, and emptied by the fixture

    class Input(BaseModel):
        """Bytes."""

        data: bytes

    class Output(BaseModel):
        """The same, the other way round."""

        data: bytes
        size: int

    def predict(self, inputs: list[Any]) -> list[Any]:
        assert self.gate.wait(60)
        self.batches.append(len(inputs))
        if any(one.data == b"bad" for one in inputs):
            raise InvalidInput("no such thing")
        return [self.Output(data=one.data[::-1], size=len(one.data)) for one in inputs]


@pytest.fixture(autouse=True)
def _open_gate() -> Iterator[None]:
    Reverse.gate.set()
    Reverse.batches.clear()
    yield
    Reverse.gate.set()


def work(data: bytes = b'{"data": "YWI="}', model: str = "reverse/2.5", seconds: float = math.inf) -> Work:
    """A request in JSON."""
    now = time.monotonic()
    return Work(model, "json", pack_context("id-1", "", b""), data, 1.0, now, now + seconds)


def test_a_class_is_called_without_a_server() -> None:
    """Bytes may be given as they are, and come as JSON has them."""
    assert local.predict(Reverse, [{"data": b"abc"}]) == [{"data": "Y2Jh", "size": 3}]


def test_a_class_keeps_its_name_and_version() -> None:
    """They are on the card, as in a backend."""
    assert local.load(Reverse).key == "reverse/2.5"


def test_inputs_are_computed_in_the_batches_of_a_backend() -> None:
    """No larger than the model takes."""
    assert len(local.predict(Reverse, [{"data": b"abc"}] * 6)) == 6
    assert Reverse.batches == [4, 2]


def test_a_model_that_is_loaded_is_not_loaded_again() -> None:
    """Whoever calls it often loads it once."""
    loaded = local.load(Reverse)
    assert local.predict(loaded, [{"data": b"a"}]) == local.predict(loaded, [{"data": b"a"}])


def test_a_model_of_the_store_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is that of FACET_MODEL_STORE."""
    folder = tmp_path / "back" / "1.0"
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(f'kind = "python"\nclass = "{__name__}:Reverse"\n')
    monkeypatch.setenv("FACET_MODEL_STORE", str(tmp_path))
    assert local.predict("back", [{"data": b"xy"}]) == [{"data": "eXg=", "size": 2}]
    assert local.load("back").key == "back/1.0"


def test_a_name_that_nothing_has_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when it is registered."""
    monkeypatch.setenv("FACET_MODEL_STORE", str(tmp_path))
    with pytest.raises(ModelNotFound):
        local.load("nothing")


def test_a_source_is_enough() -> None:
    """Of a built-in kind, say."""
    assert local.predict(Source("echo"), [{"text": "ab", "repeat": 2}]) == [{"text": "abab"}]


def test_a_class_that_cannot_be_imported_is_refused() -> None:
    """It is looked up by its name."""

    class Inner(Reverse):
        """In a function."""

    with pytest.raises(InvalidModel):
        local.load(Inner)


def test_the_first_refusal_is_raised() -> None:
    """There is no answer to give for one input alone."""
    with pytest.raises(Refused) as caught:
        local.predict(Reverse, [{"data": b"fine"}, {"data": b"bad"}])
    assert caught.value.detail == "no such thing"


def test_what_json_cannot_have_is_the_callers_mistake() -> None:
    """And not the model's."""
    with pytest.raises(TypeError, match="object"):
        local.predict(Reverse, [{"data": object()}])


def test_the_dispatcher_has_work_done_by_the_model_that_it_is_for() -> None:
    """Answers are packed as those that come through a queue."""

    async def main() -> bytes:
        dispatcher = LocalDispatcher([local.load(Reverse), local.load(Source("echo"))])
        try:
            return await dispatcher.submit(work())
        finally:
            dispatcher.close()

    message, log_fields = unpack_answer(asyncio.run(main()))
    assert message == b'{"data":"YmE=","size":2}'
    assert log_fields["batch"] == 1


def test_the_dispatcher_refuses_work_for_other_models() -> None:
    """It has those that it was given."""
    dispatcher = LocalDispatcher([])
    with pytest.raises(ModelNotFound):
        asyncio.run(dispatcher.submit(work()))
    dispatcher.close()


def test_the_dispatcher_admits_what_still_has_time() -> None:
    """And nothing else."""
    dispatcher = LocalDispatcher([])
    dispatcher.admit(Load(), time.monotonic() + 60)
    with pytest.raises(DeadlineExceeded):
        dispatcher.admit(Load(), time.monotonic() - 0.001)
    dispatcher.close()


def test_the_dispatcher_computes_nothing_that_is_late_or_cancelled() -> None:
    """When its turn comes, behind one that takes long."""
    Reverse.gate.clear()

    async def main() -> bytes:
        dispatcher = LocalDispatcher([local.load(Reverse)])
        first = asyncio.create_task(dispatcher.submit(work()))
        late = asyncio.create_task(dispatcher.submit(work(seconds=-1)))
        cancelled = asyncio.create_task(dispatcher.submit(work()))
        await asyncio.sleep(0)  # in which all of them are submitted
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        with pytest.raises(DeadlineExceeded):
            await late
        Reverse.gate.set()
        try:
            return await first
        finally:
            dispatcher.close()

    assert unpack_answer(asyncio.run(main()))[1]["batch"] == 1
    assert Reverse.batches == [1]


def test_the_dispatcher_answers_nothing_that_is_not_there_in_time() -> None:
    """Who waits is told so at the deadline, and not when the model is done."""
    Reverse.gate.clear()

    async def main() -> None:
        dispatcher = LocalDispatcher([local.load(Reverse)])
        try:
            with pytest.raises(DeadlineExceeded):
                await dispatcher.submit(work(seconds=0.05))
        finally:
            Reverse.gate.set()
            dispatcher.close()

    asyncio.run(main())
