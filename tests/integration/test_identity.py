"""Rules of who is let in: a real gateway before a real backend, by every way in."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos import infer_pb2 as pb
from protos.models_pb2 import StreamItem
from protos.oip import message_class as oip
from protos.torchserve import message_class as torchserve
from tests.support import gateway_process
from tests.support.access_points import ACCESS_POINTS, ECHO_INFER, AccessPoint, Places
from tests.support.endpoints import http_request
from tests.support.gateway_process import Gateway, gateway
from tests.support.keys import KeyFile, bearer
from tests.support.metrics import scrape
from tests.support.model_backend import Backend, model_backend
from tests.support.pictures import ASTRONAUT
from tests.support.processes import PATIENCE, wait_until
from tests.support.processes import running as running_process
from utils.api_keys import GATEWAY, MANAGE, METRICS, PREDICT
from utils.async_service_client import AsyncServiceClient
from utils.errors import FacetError, KeyMissing, KeyUnknown, RateLimited
from utils.extras import Wanted
from utils.metadata import CALLER
from utils.service_client import ServiceClient
from utils.stream_codec import decode_outcome

PICTURE = ASTRONAUT.read_bytes()


@dataclass(frozen=True)
class Served:
    """A running Facet, its keys, and secrets by the names of their keys."""

    backend: Backend
    gateway: Gateway
    places: Places
    keys: KeyFile
    secrets: dict[str, str]
    folder: Path

    def add(self, name: str, *scopes: str, **limit: Any) -> str:  # noqa: ANN401
        """Make a key, and wait until all processes must know it."""
        secret = self.keys.add(name, *scopes, **limit)
        time.sleep(1)  # as long as it may take, by promise
        return secret

    def log(self) -> str:
        """All that both have written."""
        return self.backend.process.log() + self.gateway.process.log()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One that demands keys everywhere, and may load models by the Open Inference Protocol."""
    folder = tmp_path_factory.mktemp("identity")
    keys = KeyFile(folder)
    names = {"shop": PREDICT, "operators": MANAGE, "monitoring": METRICS, "gateway": GATEWAY}
    secrets = {name: keys.add(name, scope) for name, scope in names.items()}
    own = folder / "gateway.key"
    own.write_text(secrets["gateway"])
    own.chmod(0o600)
    off = "127.0.0.1:0"
    addresses = {
        "FACET_ADMIN_ADDRESS": off,
        "FACET_ADMIN_GRPC_ADDRESS": off,
        "FACET_TORCHSERVE_ADDRESS": off,
        "FACET_TORCHSERVE_MANAGEMENT_ADDRESS": off,
        "FACET_TORCHSERVE_HTTP_MANAGEMENT_ADDRESS": off,
    }
    environ = {**keys.environ, "FACET_MODEL_API": "on"}
    with (
        model_backend(folder, **environ, **addresses) as backend,
        gateway(
            backend.address,
            **keys.environ,
            FACET_BACKEND_KEY_FILE=str(own),
            FACET_TORCHSERVE_HTTP_ADDRESS=off,
            FACET_HTTP_METRICS_ADDRESS=off,
        ) as running,
    ):
        backend.register("echo")
        [ready] = backend.process.logged("ready")
        places = Places(
            running.ready["http_address"],
            running.ready["torchserve_http_address"],
            backend.address,
            ready["torchserve_address"],
            ready["admin_address"],
            ready["admin_grpc_address"],
            ready["torchserve_management_address"],
            ready["torchserve_http_management_address"],
            running.ready["http_metrics_address"],
        )
        yield Served(backend, running, places, keys, secrets, folder)


UNAUTHENTICATED = {"KEY_MISSING": ("401", "UNAUTHENTICATED"), "KEY_UNKNOWN": ("401", "UNAUTHENTICATED")}
STATUSES = {**UNAUTHENTICATED, "KEY_LACKS_SCOPE": ("403", "PERMISSION_DENIED")}
RIGHT = {PREDICT: ["shop"], MANAGE: ["operators"], METRICS: ["monitoring", "operators"]}
"""The names of the keys that are let in, by the scope that is needed."""


@pytest.mark.security(
    endpoint="keys",
    attack=(
        "Every address over HTTP and gRPC without a key, with a wrong one, and with one for something else"
    ),
    outcome="401 or 403, UNAUTHENTICATED or PERMISSION_DENIED, except where none is needed",
)
@pytest.mark.parametrize("point", ACCESS_POINTS, ids=str)
def test_every_access_point_lets_in_who_has_the_key_for_it(served: Served, point: AccessPoint) -> None:
    """Nobody without a key, with a wrong one, or with one for something else; but where none is needed."""
    address = getattr(served.places, point.place)
    shown = {"nothing": None, "a wrong key": f"Bearer {served.secrets['shop'][:-1]}"}
    reasons = {"nothing": "KEY_MISSING", "a wrong key": "KEY_UNKNOWN"}
    for name in ("shop", "operators", "monitoring"):
        shown[name] = f"Bearer {served.secrets[name]}"
        reasons[name] = "" if name in RIGHT.get(point.scope, []) else "KEY_LACKS_SCOPE"
    for name, authorization in shown.items():
        status, named = point.ask(address, authorization)
        reason = reasons[name] if point.scope else ""
        if not reason:
            assert status in {"200", "OK"}, name
        else:
            assert status in STATUSES[reason]
            assert named == (
                "InvalidKeyException" if point.place.startswith("torchserve") and status.isdigit() else reason
            )


@pytest.mark.security(
    endpoint="keys",
    attack="Bodies and messages of callers without a key",
    outcome="Refused by the head, before a byte of the body or a message has come",
)
def test_nothing_of_a_body_is_waited_for_without_a_key(served: Served) -> None:
    """A caller that is not known is refused by its head, however much it says that it will send."""
    with contextlib.closing(served.gateway.connect()) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n")
        assert gateway_process.read_reply(connection).status == 401
    channel: Any
    with grpc.insecure_channel(served.places.grpc) as channel:
        # A stream of one message that never comes.
        ended = threading.Event()
        silent = _nothing_until(ended)
        with pytest.raises(grpc.RpcError) as caught:
            list(channel.stream_stream("/Inference/PredictStream")(silent, timeout=PATIENCE))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        ended.set()


def _nothing_until(ended: threading.Event) -> Iterator[bytes]:
    ended.wait(PATIENCE)
    yield from ()


@pytest.mark.security(
    endpoint="keys",
    attack="Keys in logs and in the command lines of processes",
    outcome="In none of them: log lines have the name of a key",
)
def test_logs_name_the_key_and_never_have_it(served: Served) -> None:
    """In the gateway, in the worker that it calls, and in the admin process; nor has a command line."""
    name = "named-in-logs"
    headers = {**bearer(served.secrets["shop"]), "X-Request-ID": name, "Content-Type": "image/png"}
    assert http_request(served.places.http, "POST", "/predict", PICTURE, headers)[0] == 200

    def lines(process: Any) -> list[Any]:  # noqa: ANN401
        return [line for line in process.logged("request") if line["request_id"] == name]

    wait_until(
        lambda: bool(lines(served.gateway.process) and lines(served.backend.process)),
        "both lines are written",
    )
    [of_gateway], [of_worker] = lines(served.gateway.process), lines(served.backend.process)
    assert (of_gateway["key"], "gateway" in of_gateway) == ("shop", False)
    assert (of_worker["key"], of_worker["gateway"]) == ("shop", "gateway")
    for secret in served.secrets.values():
        assert secret not in served.log()
        for pid in (served.backend.process.pid, served.gateway.process.pid):
            family = [pid, *served.backend.process.children(), *served.gateway.process.children()]
            assert not any(secret.encode() in Path(f"/proc/{one}/cmdline").read_bytes() for one in family)


def test_refusals_are_logged_with_the_key_that_is_known(served: Served) -> None:
    """One that is not has no name."""
    refused = {"wrong-scope": served.secrets["operators"], "wrong-key": "facet_x"}
    for name, secret in refused.items():
        headers = {**bearer(secret), "X-Request-ID": name}
        http_request(served.places.http, "GET", "/models", None, headers)
    lines = {line["request_id"]: line for line in served.gateway.process.logged("request")}
    assert (lines["wrong-scope"]["key"], lines["wrong-scope"]["reason"]) == ("operators", "KEY_LACKS_SCOPE")
    assert ("key" in lines["wrong-key"], lines["wrong-key"]["reason"]) == (False, "KEY_UNKNOWN")


def test_requests_are_counted_by_the_name_of_the_key_that_was_shown(served: Served) -> None:
    """Once, where they enter: what a gateway passes on is counted in the backend by the gateway's own."""
    secret, shown = served.add("counted", PREDICT), bearer(served.secrets["monitoring"])
    before = {place: scrape(place, shown) for place in (served.places.http_metrics, served.places.admin)}

    def has_counted(place: str, count: int, name: str, **labels: str) -> None:
        wait_until(
            lambda: scrape(place, shown).value(name, **labels) - before[place].value(name, **labels) == count,
            f"{count} more of {name} {labels}",
        )

    http_request(served.places.http, "GET", "/models", None, bearer(secret))
    for wrong in ({}, bearer("facet_x")):
        http_request(served.places.http, "GET", "/models", None, wrong)
    with ServiceClient(served.places.grpc, timeout=PATIENCE, key=secret) as client:
        assert client.models()
        with pytest.raises(FacetError):
            client.describe("none")
    of_gateway = partial(has_counted, served.places.http_metrics, name="facet_http_key_requests_total")
    of_gateway(count=1, key="counted")
    of_gateway(count=1, key="counted", status="200")
    of_gateway(count=2, key="", status="401")
    of_backend = partial(has_counted, served.places.admin, name="facet_key_requests_total")
    of_backend(count=2, key="counted")
    of_backend(count=1, key="counted", code="NOT_FOUND")
    of_backend(count=1, key="gateway", code="OK")
    assert secret not in served.log()


@pytest.mark.security(
    endpoint="keys",
    attack="Metadata by which a caller says that it is somebody else",
    outcome="Believed of a gateway's key alone",
)
def test_nobody_else_than_a_gateway_says_for_whom_it_calls(served: Served) -> None:
    """What others say is not believed, and neither is a gateway that says nonsense."""

    def caller(secret: str, told: str, name: str) -> tuple[str | None, str | None]:
        metadata = (("authorization", f"Bearer {secret}"), (CALLER, told), ("x-request-id", name))
        with grpc.insecure_channel(served.places.grpc) as channel:
            call: Any = channel.unary_unary("/Models/List")
            call(b"", metadata=metadata, timeout=PATIENCE)

        def found() -> list[Any]:
            return [one for one in served.backend.process.logged("request") if one["request_id"] == name]

        wait_until(lambda: bool(found()), "its line is written")
        [line] = found()
        return line["key"], line.get("gateway")

    assert caller(served.secrets["shop"], "boss", "spoofed") == ("shop", None)
    assert caller(served.secrets["gateway"], "boss", "told") == ("boss", "gateway")
    assert caller(served.secrets["gateway"], "a b", "nonsense") == ("gateway", None)


def test_the_description_has_the_models_though_its_reader_shows_no_key(served: Served) -> None:
    """The gateway asks for them by its own."""
    status, _, body = http_request(served.places.http, "GET", "/openapi.json")
    assert (status, json.loads(body)["x-facet-models"]) == (200, "listed")
    assert b"/models/echo/predict" in body


# --- clients ------------------------------------------------------------------------------------------


async def _detect(served: Served, **arguments: Any) -> int:  # noqa: ANN401
    async with AsyncServiceClient(served.places.grpc, timeout=PATIENCE, **arguments) as client:
        found = await client.detect(PICTURE)
        many = [outcome async for outcome in client.detect_many([PICTURE] * 2)]
        return len(found.faces) + len(many)


@pytest.mark.security(
    endpoint="keys",
    attack="A client's key in its errors, and in what it shows of itself",
    outcome="In none of them",
)
def test_clients_show_their_key_with_every_call(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that they are given, or that of the environment; and never show it otherwise."""
    secret = served.secrets["shop"]
    with ServiceClient(served.places.grpc, timeout=PATIENCE, key=secret) as client:
        client.check_ready()
        assert len(client.detect(PICTURE).faces) == 1
        assert client.predict("echo", {"text": "a"}) == {"text": "a"}
        assert len(list(client.detect_many([PICTURE] * 3))) == 3
        assert client.describe("echo").name == "echo"
        assert secret not in repr(client) + repr(vars(client)["_defaults"])
    monkeypatch.setenv("FACET_API_KEY", f"{secret}\n")
    assert asyncio.run(_detect(served)) == 3
    with ServiceClient(served.places.grpc, key="") as client, pytest.raises(KeyMissing) as caught:
        client.detect(PICTURE)
    assert secret not in str(caught.value) + repr(caught.value.__cause__)
    with pytest.raises(ValueError, match="visible ASCII") as wrong:
        ServiceClient(served.places.grpc, key=f"{secret} ")
    assert secret not in str(wrong.value)


def test_a_client_waits_as_long_as_its_limit_says(served: Served) -> None:
    """Pictures of a stream are sent again when they may be; a single call is refused, and not tried again."""
    secret = served.add("slow", PREDICT, rate=5, burst=2)
    with ServiceClient(served.places.grpc, timeout=PATIENCE, key=secret) as client:
        began = time.monotonic()
        outcomes = dict(client.detect_many([PICTURE] * 6))
        assert not any(isinstance(outcome, FacetError) for outcome in outcomes.values())
        assert time.monotonic() - began > 0.7  # 4 of them each waited for 0.2 s
        told = [_refusal(client) for _ in range(4)]
        [*_, refused] = [one for one in told if one is not None]
        assert refused.retry_after is not None
        assert 0 < refused.retry_after <= 0.2


def _refusal(client: ServiceClient) -> RateLimited | None:
    try:
        client.detect(PICTURE)
    except RateLimited as error:
        return error
    return None


@pytest.mark.security(
    endpoint="keys",
    attack="One key at the gateway and at the workers, to have two limits",
    outcome="One limit",
)
def test_a_limit_is_one_for_all_processes_of_a_machine(served: Served) -> None:
    """Those of the gateway and the workers: a request through the gateway counts once."""
    secret = served.add("both", PREDICT, rate=0.01, burst=4)

    def over_http() -> bool:
        return http_request(served.places.http, "GET", "/models", None, bearer(secret))[0] == 200

    with ServiceClient(served.places.grpc, timeout=PATIENCE, key=secret) as client:
        assert [over_http(), bool(client.models()), over_http(), bool(client.models())] == [True] * 4
        assert not over_http()
        with pytest.raises(RateLimited):
            client.models()


# --- streams ------------------------------------------------------------------------------------------


@pytest.mark.security(
    endpoint="keys",
    attack="A stream that goes on with a revoked key, or beyond its limit",
    outcome="Its later items are refused, those before are answered",
)
def test_each_item_of_a_stream_counts_and_is_checked(served: Served) -> None:
    """By the limit, and for its key being revoked; what came before is answered, and the stream goes on."""
    secret = served.add("streamer", PREDICT, rate=0.01, burst=2)
    pause = []

    def requests() -> Iterator[pb.PredictStreamRequest]:
        for number in range(4):
            if number == 3:
                served.keys.revoke("streamer")
                time.sleep(1)  # as long as it may take
            pause.append(number)
            yield pb.PredictStreamRequest(number=number, image=pb.Image(raw_data=PICTURE))

    with grpc.insecure_channel(served.places.grpc) as channel:
        call: Any = channel.stream_stream(
            "/Inference/PredictStream",
            pb.PredictStreamRequest.SerializeToString,
            pb.PredictStreamReply.FromString,
        )
        metadata = (("authorization", f"Bearer {secret}"),)
        replies = {reply.number: reply for reply in call(requests(), metadata=metadata, timeout=PATIENCE)}
    outcomes = [decode_outcome(replies[number], Wanted()) for number in range(4)]
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "Detection",
        "Detection",
        "RateLimited",
        "KeyUnknown",
    ]
    assert isinstance(outcomes[2], RateLimited)
    assert outcomes[2].retry_after is not None


_TORCHSERVE_INPUT = torchserve("inference", "PredictionsRequest")(
    model_name="echo", sequence_id="s", input={"text": b"hello"}
)
STREAMS: dict[str, tuple[str, str, bytes, Callable[[bytes], bool]]] = {
    "typed": (
        "grpc",
        "/model_grpc_service.ModelgRPCService/echo_predict_stream",
        b"",
        lambda reply: StreamItem.FromString(reply).error.reason == "RATE_LIMITED",
    ),
    "oip": (
        "grpc",
        "/inference.GRPCInferenceService/ModelStreamInfer",
        ECHO_INFER.SerializeToString(),
        lambda reply: "may make" in oip("ModelStreamInferResponse").FromString(reply).error_message,
    ),
    "torchserve": (
        "torchserve",
        "/org.pytorch.serve.grpc.inference.InferenceAPIsService/StreamPredictions2",
        _TORCHSERVE_INPUT.SerializeToString(),
        lambda reply: torchserve("inference", "PredictionResponse").FromString(reply).status.code == 8,
    ),
}
"""Place, method and message of each stream of inputs, and whether a reply says that its limit is reached."""


@pytest.mark.security(
    endpoint="keys",
    attack="Streams of each protocol, to get around a limit",
    outcome="Each item counts",
)
@pytest.mark.parametrize("name", STREAMS)
def test_items_of_every_stream_count(served: Served, name: str) -> None:
    """And the stream that they come in does not: it goes on behind one that is refused."""
    place, method, message, is_limited = STREAMS[name]
    secret = served.add(f"stream-{name}", PREDICT, rate=0.01, burst=2)
    with grpc.insecure_channel(getattr(served.places, place)) as channel:
        call: Any = channel.stream_stream(method)
        metadata = (("authorization", f"Bearer {secret}"),)
        replies = list(call(iter([message] * 4), metadata=metadata, timeout=PATIENCE))
    assert [is_limited(reply) for reply in replies] == [False, False, True, True]


# --- revocation and the gateway's own key -------------------------------------------------------------


@pytest.mark.security(
    endpoint="keys",
    attack="A key that is revoked under load",
    outcome="Refused within a second; all calls by another one are answered",
)
def test_a_revoked_key_is_refused_within_a_second_and_no_other_one(served: Served) -> None:
    """Under load, by the gateway and by workers: all calls by the other key are answered."""
    doomed, kept = served.add("doomed", PREDICT), served.secrets["shop"]
    revoked_at: list[float] = []
    end = time.monotonic() + 4

    def over_http(secret: str) -> list[tuple[float, str]]:
        told = []
        while time.monotonic() < end:
            began = time.monotonic()
            status, _, _ = http_request(served.places.http, "GET", "/models", None, bearer(secret))
            told.append((began, str(status)))
        return told

    def over_grpc(secret: str) -> list[tuple[float, str]]:
        told = []
        with ServiceClient(served.places.grpc, timeout=PATIENCE, key=secret) as client:
            while time.monotonic() < end:
                began = time.monotonic()
                try:
                    client.models()
                except KeyUnknown:
                    told.append((began, "401"))
                else:
                    told.append((began, "200"))
        return told

    with ThreadPoolExecutor(4) as threads:
        jobs = [
            (secret, threads.submit(way, secret))
            for way in (over_http, over_grpc)
            for secret in (doomed, kept)
        ]
        time.sleep(1.5)
        served.keys.revoke("doomed")
        revoked_at.append(time.monotonic())
        for secret, job in jobs:
            told = job.result()
            if secret == kept:
                assert {status for _, status in told} == {"200"}
            else:
                assert {status for began, status in told if began < revoked_at[0] - 0.1} == {"200"}
                assert {status for began, status in told if began > revoked_at[0] + 1} == {"401"}


@pytest.mark.security(
    endpoint="keys",
    attack="A gateway whose own key the backend does not know",
    outcome="Callers are told 503, and nothing of keys; the log says why",
)
def test_a_gateway_without_a_good_key_says_that_it_is_its_own_fault(served: Served) -> None:
    """Its callers are not told that theirs is wrong; and a key that is mended counts without a restart."""
    own = served.folder / "other.key"
    own.write_text("facet_wrong")
    own.chmod(0o600)
    environ = {**served.keys.environ, "FACET_BACKEND_KEY_FILE": str(own)}
    headers = bearer(served.secrets["shop"])
    with gateway(served.backend.address, **environ) as other:
        address = other.ready["http_address"]
        assert http_request(address, "GET", "/readyz")[0] == 200
        status, _, body = http_request(address, "GET", "/models", None, headers)
        assert (status, b"BACKEND_UNAVAILABLE" in body, b"KEY" in body) == (503, True, False)
        wait_until(lambda: bool(other.process.logged("request")), "its line is written")
        [line] = other.process.logged("request")
        assert (line["key"], line["cause"].split(":")[0]) == ("shop", "KEY_UNKNOWN")
        own.write_text(served.secrets["gateway"])
        assert http_request(address, "GET", "/models", None, headers)[0] == 200
        assert served.secrets["gateway"] not in other.process.log()


@pytest.mark.security(
    endpoint="keys",
    attack="A file of keys that is damaged while it is used",
    outcome="The keys of before count, and the log says so; a gateway does not start with it",
)
def test_a_broken_file_changes_nothing_until_it_is_mended(served: Served) -> None:
    """All processes go on with the keys of before, and say so; a gateway does not start with it."""
    before = served.keys.path.read_bytes()
    headers = bearer(served.secrets["shop"])
    try:
        served.keys.path.write_text("{")
        with ServiceClient(served.places.grpc, key=served.secrets["shop"]) as client:
            wait_until(
                lambda: bool(
                    http_request(served.places.http, "GET", "/models", None, headers)[0] == 200
                    and client.models()
                    and served.gateway.process.logged("key file not usable")
                    and served.backend.process.logged("key file not usable")
                ),
                "both have seen it",
            )
        [line] = served.gateway.process.logged("key file not usable")
        assert (line["level"], line["kept"], line["path"]) == ("error", True, str(served.keys.path))
        command = gateway_process.COMMAND
        environ = {"FACET_HTTP_ADDRESS": "127.0.0.1:0", **served.keys.environ}
        with running_process(command, **environ) as process:
            assert process.wait() != 0
            assert any("FACET_API_KEYS_FILE is" in one and "damaged" in one for one in process.lines)
    finally:
        served.keys.path.write_bytes(before)
