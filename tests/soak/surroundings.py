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
from utils.api_keys import GATEWAY, PREDICT
from utils.settings import parse_address

_ANSWERS = 5
_SEEN_SECONDS = 1.0
"""Within which a change of the keys counts."""
_REFUSALS = 3
"""That are waited for."""
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
    callers: tuple[Callable[[], Caller], ...] = (
        partial(HttpCaller, stage.http, guest),
        partial(GrpcCaller, stage.grpc, guest),
    )
    with contextlib.ExitStack() as stack:
        loads = {}
        for endpoint, caller in zip(REVOKED, callers, strict=True):
            tally = scene.tallies.setdefault(endpoint, Tally())
            loads[endpoint] = stack.enter_context(Load([caller], [scene.photo], tally))
            loads[endpoint].turn()
            assert tally.unknown == 0, tally
        stage.identities.keys.revoke(name)
        time.sleep(_SEEN_SECONDS)
        for endpoint, load in loads.items():
            tally = scene.tallies[endpoint]
            _wait_for_refusals(tally, 1)  # what was begun before has ended
            answered = load.answered
            _wait_for_refusals(tally, _REFUSALS)
            assert load.answered == answered, tally


def _wait_for_refusals(tally: Tally, count: int) -> None:
    until = tally.unknown + count
    wait_until(lambda: tally.unknown >= until, f"the key is refused {count} times more")


def replace_gateway_key(scene: Scene) -> None:
    """The gateway gets another key, and its old one is revoked, by the steps of docs/security.md."""
    identities = scene.stage.identities
    old, new = identities.gateway, identities.add(f"gateway-{next(_numbers)}", GATEWAY)
    time.sleep(_SEEN_SECONDS)
    identities.show_by_gateway(new)
    time.sleep(_SEEN_SECONDS)
    identities.keys.revoke(old.name)
    time.sleep(_SEEN_SECONDS)
    scene.traffic.go_on(_ANSWERS)


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
    Event("the gateway's key replaced", replace_gateway_key),
    Event("the collector of traces away", lose_collector),
)
