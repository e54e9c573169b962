"""Rules of a model worker's life, in this process."""

import contextlib
import gc
import signal
import time
from types import SimpleNamespace
from typing import cast

import pytest

from inference_server.dispatch.shared import Membership
from inference_server.model_worker import ModelWorker
from inference_server.models.contract import LoadedModel
from inference_server.supervision.control import FromWorker, Ready, Stop, control_pair
from tests.support.dispatch import Machine, shout_all
from tests.support.models import version


def test_a_process_that_says_it_is_ready_has_shown_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it has loaded its model for longer than it may be silent from then on."""
    for module, name in ((gc, "freeze"), (signal, "signal")):  # which are for a process of its own
        monkeypatch.setattr(module, name, lambda *_: None)
    machine = Machine(1, queues=2, model_slots=1)
    row = machine.shared.stats.rows[1]
    row.assign(7, time.monotonic() - 3600)
    model = SimpleNamespace(
        handle=lambda works, _: shout_all(works), encode_error=lambda _: b"", max_batch=1, out_of_memory=False
    )
    ours, theirs = control_pair()
    silent: list[float] = []

    def send(message: FromWorker) -> bool:
        assert message == Ready()
        silent.append(time.monotonic() - row.heartbeat)
        return True

    monkeypatch.setattr(theirs, "send", send)
    ours.send(Stop())
    with contextlib.closing(ours), contextlib.closing(theirs), contextlib.closing(machine):
        ModelWorker(cast(LoadedModel, model), version("echo"), theirs, Membership(machine.shared, 1, 7)).run()
    [seconds] = silent
    assert seconds < 600
