"""What happens to models during the soak, beside clients of one of them that never try again."""

import contextlib
import itertools
import os
import signal
from collections.abc import Iterator
from functools import partial

import pytest

from inference_server.catalogue import commands
from tests.soak.load import Load, Tally
from tests.soak.model_callers import MODEL, JsonOnce, TypedOnce, words
from tests.soak.scene import ONCE, Event, Scene
from tests.soak.stage import MODEL_WORKERS
from tests.support.model_backend import clients
from tests.support.processes import alive, wait_until
from utils.errors import ModelLoadFailed, ModelNotFound

_CONNECTIONS = 6
_GUEST = "guest"
_PAUSE_SECONDS = 0.02
_ANSWERS = 40
"""That are waited for after a change."""
_numbers = itertools.count()


@contextlib.contextmanager
def asked(scene: Scene) -> Iterator[Load]:
    """Typed clients and clients with JSON that never try again, until all had an answer after the event."""
    tally = scene.tallies.setdefault(ONCE, Tally())
    callers = [partial(kind, scene.stage.grpc) for kind in (TypedOnce, JsonOnce)] * 2
    with Load(callers, [words(f"event {next(_numbers)}")], tally, pause=_PAUSE_SECONDS) as load:
        load.turn()
        yield load
        load.turn()


def come_and_go(scene: Scene) -> None:
    """A model answers from the first call after it is registered until it is not."""
    stage = scene.stage
    with asked(scene), clients(stage.grpc, _CONNECTIONS) as connections:
        for _ in range(3):
            stage.models.register(MODEL, name=_GUEST)
            for client in connections:
                assert client.predict(_GUEST, {"text": "a"})["text"] == "A"
            stage.models.unregister(_GUEST)
            for client in connections:
                with pytest.raises(ModelNotFound):
                    client.predict(_GUEST, {"text": "a"})


def scale_model(scene: Scene) -> None:
    """More processes, and fewer."""
    with asked(scene) as load:
        for count in (2, 4, 1, MODEL_WORKERS):
            _scale(scene, count)
            wait_until(lambda: bool(scene.stage.model_workers()), "a process serves")
            load.go_on(_ANSWERS)


def renew(scene: Scene) -> None:
    """A new version is registered and becomes the default, and the old one goes."""
    models = scene.stage.models
    with asked(scene) as load:
        old = models.default(MODEL)
        new = "2.0" if old == "1.0" else "1.0"
        models.register(MODEL, version=new, min_workers=MODEL_WORKERS)
        load.go_on(_ANSWERS)
        models.manage(commands.SetDefault(MODEL, new))
        load.go_on(_ANSWERS)
        models.unregister(MODEL, old)


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
                scene.stage.models.register(name, startup_timeout=2.0)
            assert not any(key.startswith(name) for key in scene.stage.models.listed())


def reload_amid_changes(scene: Scene) -> None:
    """A rolling reload of everything, while a model comes, another is scaled, and the first one goes."""
    stage = scene.stage
    before = [*stage.ready(), *stage.model_workers()]
    with asked(scene) as load:
        stage.reload()
        stage.models.register(MODEL, name=_GUEST)
        _scale(scene, MODEL_WORKERS + 1)
        load.turn()
        stage.models.unregister(_GUEST)
        _scale(scene, MODEL_WORKERS)
        wait_until(lambda: not any(map(alive, before)), "the old processes are gone")


def _scale(scene: Scene, count: int) -> None:
    scene.stage.models.manage(commands.Scale(MODEL, "", count, count))


MODEL_EVENTS = (
    Event("models come and go", come_and_go),
    Event("kill -9 of a model's processes", kill_models),
    Event("model scaled 2, 4, 1, 2", scale_model),
    Event("models that cannot be loaded", refuse_loads),
    Event("new version of a model, and the old one gone", renew),
    Event("rolling reload amid changes of models", reload_amid_changes, leaves=True),
)
