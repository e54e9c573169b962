"""What changes around Facet during the soak: certificates, keys, and the collector of traces."""

import contextlib
import itertools
import socket
import time
from collections.abc import Callable
from functools import partial

from tests.soak.endpoints import Caller, GrpcCaller, HttpCaller
from tests.soak.load import Load, Tally
from tests.soak.scene import REVOKED, Event, Scene
from tests.support.processes import wait_until
from utils.api_keys import PREDICT
from utils.settings import parse_address

_ANSWERS = 20
_SEEN_SECONDS = 1.0
"""Within which a change of the keys counts."""
_PER_CALLER = 3
"""Refusals that are waited for."""
_numbers = itertools.count()


def renew_certificates(scene: Scene) -> None:
    """All certificates are replaced, those of both ends."""
    stage = scene.stage
    read_again = len(stage.gateway_journal["TLS files read again"])
    stage.identities.renew()
    serial = stage.identities.server.serial
    wait_until(lambda: _shown(scene) == serial, "the backend shows the new certificate")
    wait_until(
        lambda: len(stage.gateway_journal["TLS files read again"]) > read_again, "the gateway has read it"
    )
    scene.traffic.go_on(_ANSWERS)


def revoke(scene: Scene) -> None:
    """A key is made, used and revoked: who shows it is answered, and within a second no more."""
    stage, name = scene.stage, f"guest-{next(_numbers)}"
    guest = stage.identities.add(name, PREDICT)
    time.sleep(_SEEN_SECONDS)  # as long as it may take, by promise
    tally = scene.tallies.setdefault(REVOKED, Tally())
    callers: list[Callable[[], Caller]] = [
        partial(HttpCaller, stage.http, guest),
        partial(GrpcCaller, stage.grpc, guest),
    ]
    with Load(callers, [scene.photo], tally) as load:
        load.turn()
        assert tally.unknown == 0, tally
        stage.identities.keys.revoke(name)
        time.sleep(_SEEN_SECONDS)
        refused = tally.unknown
        wait_until(lambda: tally.unknown >= refused + len(callers), "what was begun before has ended")
        answered, refused = load.answered, tally.unknown
        wait_until(lambda: tally.unknown >= refused + _PER_CALLER * len(callers), "all are refused")
        assert load.answered == answered, tally


def lose_collector(scene: Scene) -> None:
    """The collector of traces goes away, and comes back."""
    collector = scene.stage.collector
    collector.leave()
    try:
        scene.traffic.go_on(_ANSWERS)
    finally:
        collector.listen()
    collector.spans.clear()
    wait_until(
        lambda: {span.service for span in list(collector.spans)} == {"facet-gateway", "facet-backend"},
        "spans of both come again",
    )


def _shown(scene: Scene) -> str:
    """The serial number of the certificate that the backend shows."""
    where, context = parse_address(scene.stage.grpc), scene.stage.identities.visitors.ssl_context()
    with (
        contextlib.closing(socket.create_connection((where.host, where.port))) as plain,
        context.wrap_socket(plain, server_hostname=where.host) as connection,
    ):
        certificate = connection.getpeercert()
    assert certificate is not None
    return f"serial={certificate['serialNumber']}\n"


SURROUNDING_EVENTS = (
    Event("all certificates replaced", renew_certificates),
    Event("a key made, and revoked", revoke),
    Event("the collector of traces away", lose_collector),
)
