"""What happens to models during the soak, beside clients of one of them that never try again.

Changes are made by all ways in which operators make them, in turn.
"""

import contextlib
import itertools
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from inference_server.catalogue.commands import (
    ModelCommand,
    Register,
    Scale,
    SetDefault,
    SetTraffic,
    Unregister,
)
from tests.soak.changes import Book, is_settled
from tests.soak.endpoints import Caller
from tests.soak.load import Load, Tally, Traffic
from tests.soak.model_callers import MODEL, JsonOnce, TypedOnce, words
from tests.soak.operators import OF_ADMIN, can
from tests.soak.protocol_callers import TensorsHttpOnce, TensorsOnce, TorchServeHttpOnce, TorchServeOnce
from tests.soak.scene import ONCE, Event, Scene
from tests.soak.stage import GUEST, MODEL_WORKERS
from tests.support.model_backend import clients
from tests.support.processes import PATIENCE, alive, wait_until
from utils.errors import BackendUnavailable, ModelExists, ModelLoadFailed, ModelNotFound

_CONNECTIONS = 6
_PAUSE_SECONDS = 0.02
_ANSWERS = 20
"""That are waited for after a change, from each protocol's clients."""
_LONGEST_SECONDS = 2.0
_CANARY = 10
_numbers = itertools.count()


@contextlib.contextmanager
def asked(scene: Scene) -> Iterator[Traffic]:
    """Clients of all protocols that never try again, until all had an answer after the event."""
    at, account = scene.stage.addresses, scene.stage.identities.callers
    reader = scene.stage.identities.visitors
    callers: tuple[list[Callable[[], Caller]], ...] = (
        [partial(TypedOnce, at.grpc, account, reader), partial(JsonOnce, at.grpc, account)],
        [
            partial(TorchServeOnce, at.torchserve, account),
            partial(TorchServeHttpOnce, at.torchserve_http, account),
        ],
        [partial(TensorsOnce, at.grpc, account), partial(TensorsHttpOnce, at.http, account)],
        [client.connect for client in scene.stage.kserve],
    )
    with contextlib.ExitStack() as stack:
        loads = {}
        for endpoint, each in zip(ONCE, callers, strict=True):
            if not each:
                continue
            tally = scene.tallies.setdefault(endpoint, Tally())
            said = [words(f"{endpoint}, event {next(_numbers)}")]
            loads[endpoint] = stack.enter_context(Load(each, said, tally, pause=_PAUSE_SECONDS))
        traffic = Traffic(loads)
        traffic.turn()
        yield traffic
        traffic.turn()


def come_and_go(scene: Scene) -> None:
    """A model answers from the first call after it is registered until it is not, whoever does that."""
    stage, register, visitors = scene.stage, Register(GUEST), scene.stage.identities.visitors
    with asked(scene), clients(stage.grpc, _CONNECTIONS, visitors) as connections:
        for way in stage.operators.ways:
            assert can(way, register)
            stage.operators.by(way, register)
            for client in connections:
                assert client.predict(GUEST, {"text": "a"})["text"] == "A"
            stage.operators.by(way, Unregister(GUEST))
            for client in connections:
                with pytest.raises(ModelNotFound):
                    client.predict(GUEST, {"text": "a"})


def scale_model(scene: Scene) -> None:
    """More processes, and fewer."""
    with asked(scene) as load:
        for count in (2, 4, 1, MODEL_WORKERS):
            scene.stage.operators.manage(Scale(MODEL, "", count, count))
            wait_until(lambda: bool(scene.stage.model_workers()), "a process serves")
            load.go_on(_ANSWERS)


def renew(scene: Scene) -> None:
    """A new version is registered, gets a tenth of the calls, becomes the default, and the old one goes."""
    operators, old = scene.stage.operators, scene.stage.models.default(MODEL)
    new = "2.0" if old == "1.0" else "1.0"
    with asked(scene) as load:
        for change in (
            Register(MODEL, "", new, {"min_workers": MODEL_WORKERS}),
            SetTraffic(MODEL, {old: 100 - _CANARY, new: _CANARY}),
            SetDefault(MODEL, new),
        ):
            operators.manage(change)
            load.go_on(_ANSWERS)
        operators.manage(Unregister(MODEL, old))


def kill_models(scene: Scene) -> None:
    """One process of the model after another, each when what the last one had is done; then all at once."""
    stage = scene.stage
    with asked(scene) as load:
        for count in (1, 1, 1, MODEL_WORKERS):
            wait_until(lambda: len(stage.model_workers()) == MODEL_WORKERS, "all processes serve")
            for pid in stage.model_workers()[:count]:
                os.kill(pid, signal.SIGKILL)
            load.turn()
            scene.traffic.turn()


def refuse_loads(scene: Scene) -> None:
    """Models that raise, crash, hang or leave when they are loaded."""
    with asked(scene):
        for name in ("load-raises", "load-crashes", "load-hangs", "load-exits"):
            with pytest.raises(ModelLoadFailed):
                scene.stage.operators.manage(Register(name, settings={"startup_timeout": 2.0}))
            assert not any(key.startswith(name) for key in scene.stage.models.listed())


def reload_amid_changes(scene: Scene) -> None:
    """A rolling reload of everything, while a model comes, another is scaled, and the first one goes."""
    stage = scene.stage
    before = [*stage.ready(), *stage.model_workers()]
    with asked(scene) as load:
        stage.reload()
        _insist(scene, Register(GUEST))
        _insist(scene, Scale(MODEL, "", MODEL_WORKERS + 1, MODEL_WORKERS + 1))
        load.turn()
        _insist(scene, Unregister(GUEST))
        _insist(scene, Scale(MODEL, "", MODEL_WORKERS, MODEL_WORKERS))
        wait_until(lambda: not any(map(alive, before)), "the old processes are gone")


def kill_admin(scene: Scene) -> None:
    """The admin process dies amid changes, which are made or not; those it has answered hold."""
    with asked(scene) as load:
        for way in OF_ADMIN:
            _kill_admin(scene, way)
            load.turn()


def _kill_admin(scene: Scene, way: str) -> None:
    """It dies while somebody makes changes in this way; another one takes its place."""
    stage, book, killed = scene.stage, Book(), threading.Event()
    [victim] = stage.admin()
    make = partial(stage.operators.by, way)
    changes = threading.Thread(target=book.change, args=(make, next(_numbers), killed.is_set))
    changes.start()
    killed.wait(random.uniform(0, _LONGEST_SECONDS))
    with stage.scraper.excusing("backend"):
        os.kill(victim, signal.SIGKILL)
        killed.set()
        changes.join(PATIENCE)
        wait_until(
            lambda: bool(stage.admin()) and victim not in stage.admin(), "another admin process serves"
        )
    wait_until(lambda: is_settled(stage.models), "no process of a model is on its way")
    faults = [*book.compare(stage.models), *book.refused]
    assert not faults, (way, faults)
    for name in book.acknowledged:
        stage.operators.by(way, Unregister(name))


def _insist(scene: Scene, change: ModelCommand) -> None:
    """Make a change though those leave who are asked: gRPC may end a call that comes at that very moment."""
    try:
        scene.stage.operators.manage(change)
    except BackendUnavailable:
        with contextlib.suppress(ModelExists, ModelNotFound):  # it was made all the same
            scene.stage.operators.manage(change)


MODEL_EVENTS = (
    Event("models come and go", come_and_go),
    Event("kill -9 of a model's processes", kill_models),
    Event("kill -9 of the admin process amid changes", kill_admin),
    Event("model scaled 2, 4, 1, 2", scale_model),
    Event("models that cannot be loaded", refuse_loads),
    Event("new version of a model, and the old one gone", renew),
    Event("rolling reload amid changes of models", reload_amid_changes, leaves=True),
)
