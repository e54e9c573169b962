"""What happens to Facet during the soak. Each event returns when it is over and its effects are known."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from functools import partial

from inference_server.supervision.liveness import HEARTBEAT_SECONDS
from tests.soak.endpoints import HttpCaller
from tests.soak.harm import leave, leave_unfinished, poison, slow, slow_bodies
from tests.soak.load import Load, Tally
from tests.soak.model_events import MODEL_EVENTS
from tests.soak.photos import sleeper
from tests.soak.scene import Event, Scene
from tests.soak.stage import WORKERS
from tests.soak.surroundings import SURROUNDING_EVENTS
from tests.support.processes import alive, standing_still, state, wait_until

_BUSY_MILLISECONDS = 200


@contextlib.contextmanager
def _busy(scene: Scene) -> Iterator[None]:
    """All workers compute, and as many requests as they wait for one of them."""
    path = f"/predict?min_face_size={_BUSY_MILLISECONDS}"
    caller = partial(HttpCaller, scene.stage.http, scene.stage.identities.callers, path)
    callers = [partial(caller, patient=True)] * (2 * WORKERS)
    with Load(callers, [sleeper()], scene.tallies["gateway"]) as load:
        load.turn()
        yield


def kill_one(scene: Scene) -> None:
    """A worker dies."""
    with _busy(scene):
        scene.stage.kill_one()


def kill_all_but_one(scene: Scene) -> None:
    """One is left, and has everything to do."""
    with _busy(scene):
        for pid in scene.stage.ready()[1:]:
            os.kill(pid, signal.SIGKILL)


def kill_again_and_again(scene: Scene) -> None:
    """Whenever what was in flight at the last death is done."""
    with _busy(scene):
        for _ in range(3):
            scene.stage.kill_one()
            scene.traffic.turn()


def kill_before_claim(scene: Scene) -> None:
    """A worker dies between taking a request and claiming it."""
    deaths = len(scene.stage.journal["worker crashed"])
    scene.stage.token.touch()
    wait_until(lambda: len(scene.stage.journal["worker crashed"]) > deaths, "a death")
    assert not scene.stage.token.exists()


def stop_one(scene: Scene) -> None:
    """A worker neither works nor dies."""
    hung = len(scene.stage.journal["worker hung"])
    victim = scene.stage.any_worker()
    with _busy(scene):
        os.kill(victim, signal.SIGSTOP)
        wait_until(lambda: state(victim) == "T", f"worker {victim} stands still")
    wait_until(lambda: len(scene.stage.journal["worker hung"]) > hung, f"worker {victim} is found out")


def stand_still(scene: Scene) -> None:
    """The whole machine is suspended, as when it is moved to another host."""
    stage = scene.stage
    backend = [stage.inference.pid, *stage.inference.children()]
    hung = len(stage.journal["worker hung"])
    with standing_still([*backend, stage.gateway.pid, *stage.gateway.children()]):
        time.sleep(HEARTBEAT_SECONDS + 1)
    scene.traffic.turn()
    assert len(stage.journal["worker hung"]) == hung


def reload_twice(scene: Scene) -> None:
    """The second reload begins before the first is over."""
    before = scene.stage.ready()
    for _ in range(2):
        scene.stage.reload()
    wait_until(lambda: not any(map(alive, before)), "the old workers are gone")


def reload_and_kill(scene: Scene) -> None:
    """A worker dies in the middle of a reload."""
    before = scene.stage.ready()
    with _busy(scene):
        scene.stage.reload()
        os.kill(before[-1], signal.SIGKILL)
    wait_until(lambda: not any(map(alive, before)), "the old workers are gone")


def scale(scene: Scene) -> None:
    """One worker more, then one less."""
    stage = scene.stage
    ready = len(stage.journal["worker ready"])
    stage.inference.send(signal.SIGTTIN)
    wait_until(lambda: len(stage.journal["worker ready"]) > ready, "one more")
    scene.traffic.go_on(2)
    stage.inference.send(signal.SIGTTOU)


def terminate_one(scene: Scene) -> None:
    """Somebody tells one worker to stop."""
    victim = scene.stage.any_worker()
    os.kill(victim, signal.SIGTERM)
    wait_until(lambda: not alive(victim), "it is gone")


def reload_gateway(scene: Scene) -> None:
    """New code for the gateway."""
    before = scene.stage.gateway.children()
    scene.stage.gateway.send(signal.SIGHUP)
    wait_until(lambda: not any(map(alive, before)), "the old processes are gone")


def full_queue(scene: Scene) -> None:
    """Sixty callers more, whose pictures take long; the third of them that names a time is never refused."""
    tally, patient = scene.tallies["gateway"], Tally()
    path = "/predict?min_face_size=400"
    caller = partial(HttpCaller, scene.stage.http, scene.stage.identities.callers, path)
    with (
        Load([partial(caller, patient=True)] * 20, [sleeper()], patient),
        Load([caller] * 40, [sleeper()], tally),
    ):
        wait_until(lambda: tally.refused >= 20, "some are refused")
    assert patient.sent >= 20
    assert patient.refused == patient.failed == patient.wrong == patient.repeated == 0, patient


def restart(scene: Scene) -> None:
    """The whole backend stops, and is started again with all its models when callers have noticed.

    But for those of batches: the gateway sends their pictures again until it is there.
    """
    models = scene.stage.registered()
    told = [tally for endpoint, tally in scene.tallies.items() if endpoint != "batch"]
    with scene.stage.scraper.excusing("backend"):
        scene.stage.inference.send(signal.SIGTERM)
        assert scene.stage.inference.wait() == 0
        wait_until(lambda: all(tally.gone > 0 for tally in told), "callers are told")
        scene.stage.start_backend()
    wait_until(scene.stage.serves, "the gateway has found it")
    assert scene.stage.registered() == models


EVENTS = (
    Event("kill -9 of one worker", kill_one),
    Event("reload of the gateway", reload_gateway),
    Event("kill -9 of all workers but one", kill_all_but_one),
    Event("worker killed between taking and claiming", kill_before_claim),
    Event("workers scaled up and down", scale),
    Event("kill -9 again and again", kill_again_and_again),
    Event("clients that leave", leave),
    Event("rolling reload, twice in a row", reload_twice),
    Event("SIGSTOP of one worker", stop_one),
    Event("SIGTERM of one worker", terminate_one),
    Event("SIGSTOP of everything for 3 s", stand_still),
    Event("slow clients", slow),
    Event("slow bodies", slow_bodies),
    Event("rolling reload with a kill in it", reload_and_kill),
    Event("unfinished gRPC messages", leave_unfinished),
    Event("poison", poison),
    Event("full queue", full_queue, refuses=True),
    *SURROUNDING_EVENTS,
    *MODEL_EVENTS,
    Event("backend stopped and started", restart, goes=True),
)
