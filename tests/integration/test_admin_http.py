"""Rules of the management over HTTP: a real backend, real requests."""

import base64
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zlib import crc32

import grpc
import pytest

from inference_server.catalogue import commands
from protos import models_pb2 as pb
from protos import models_pb2_grpc
from tests.support.admin import JSON, Answer, Managed, connection, managed
from tests.support.gateway_process import ended, read_reply
from tests.support.keys import KeyFile
from tests.support.model_backend import clients
from tests.support.odd_requests import ODD_REQUESTS, SMUGGLED_PATH, Odd
from tests.support.processes import PATIENCE, wait_until
from tests.support.raw_http import answered, assert_safe_fields
from utils.api_keys import MANAGE


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """A backend that tests leave as they found it, with two versions of an echo in its store."""
    folder = tmp_path_factory.mktemp("admin")
    for version in ("1", "2"):
        stored = folder / "store" / "parrot" / version
        stored.mkdir(parents=True)
        (stored / "model.toml").write_text('kind = "echo"\n')
    with managed(folder) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test finds the models of one that has failed."""
    yield
    if "served" in request.fixturenames:
        request.getfixturevalue("served").backend.clear()


def test_a_model_is_registered_described_scaled_and_unregistered(served: Managed) -> None:
    """Each answer shows the version as the change has left it."""
    made = served.ask("POST", "/models", {"url": "parrot/1", "name": "bird", "settings": {"nice": 3}})
    assert (made.status, made.headers["location"]) == (201, "/models/bird/1")
    assert (made.json["state"], made.json["settings"]["nice"]) == ("ready", 3)
    [described] = served.ask("GET", "/models/bird/1").json["models"]
    assert described["card"]["description"] == described["description"] != ""
    [process] = described["processes"]
    assert (process["state"], described["waiting"]) == ("ready", 0)
    assert process["memory_bytes"] > 1_000_000
    assert process["started"] <= served.status()["started"] + served.status()["uptime_seconds"]
    scaled = served.ask("PUT", "/models/bird", {"min_workers": 2, "max_workers": 4})
    assert (scaled.status, scaled.json["workers"], scaled.json["settings"]["max_workers"]) == (200, 2, 4)
    for path in ("/models/bird/reload", "/models/bird/1/reload"):
        reloaded = served.ask("POST", path, {})
        assert (reloaded.status, reloaded.json["state"], reloaded.json["workers"]) == (200, "ready", 2)
    names = [model["name"] for model in served.ask("GET", "/models").json["models"]]
    assert names == ["face_detection", "bird"]
    gone = served.ask("DELETE", "/models/bird")
    assert (gone.status, gone.json) == (200, {"name": "bird", "version": "1"})
    assert served.ask("GET", "/models/bird").problem == (404, "MODEL_NOT_FOUND", "name")


def test_a_register_that_is_not_waited_for_is_accepted(served: Managed) -> None:
    """It is answered when the model begins to load."""
    made = served.ask("POST", "/models", {"url": "echo", "synchronous": False})
    assert (made.status, made.json["state"]) == (202, "loading")
    wait_until(lambda: served.backend.listed().get("echo/1.0") == "ready", "it is ready")


def test_shares_of_the_calls_are_those_that_were_asked_for(served: Managed) -> None:
    """By the ids of the requests; the default version gets what is left."""
    for version in ("1", "2"):
        served.ask("POST", "/models", {"url": f"parrot/{version}"})
    answer = served.ask("PUT", "/models/parrot/traffic", {"1": 70, "2": 30})
    shares = {model["version"]: model["canary"] for model in answer.json["models"]}
    assert (answer.status, shares) == (200, {"1": 0, "2": 30})
    ids = [f"request-{number}" for number in range(100)]
    assert all(_version(served, each) == _expected(each, 30) for each in ids)
    assert {_version(served, each) for each in ids} == {"1", "2"}
    assert served.ask("PUT", "/models/parrot/traffic", {"2": 100}).status == 200
    assert {_version(served, each) for each in ids[:20]} == {"2"}
    assert served.ask("PUT", "/models/parrot/default", {"version": "2"}).json["default"]
    assert {_version(served, each) for each in ids[:20]} == {"2"}


def _expected(request_id: str, percent: int) -> str:
    return "2" if crc32(f"parrot{request_id}".encode()) % 100 < percent else "1"


def _version(served: Managed, request_id: str) -> str:
    """Which version answers a call of this id."""
    with grpc.insecure_channel(served.backend.address) as channel:
        stub = models_pb2_grpc.ModelsStub(channel)
        request = pb.PredictRequest(name="parrot", json=b'{"text": "a"}')
        reply = stub.Predict(request, metadata=[("x-request-id", request_id)], timeout=PATIENCE)
        return str(reply.version)


@pytest.mark.parametrize(
    "weights", [{"1": 90}, {"1": 90, "2": 20}, {"1": 101, "2": -1}, {"1": 99.5, "2": 0.5}, {}]
)
def test_shares_that_are_not_100_together_are_refused(served: Managed, weights: dict[str, float]) -> None:
    """Or that are no percentages."""
    for version in ("1", "2"):
        served.ask("POST", "/models", {"url": f"parrot/{version}"})
    refused = served.ask("PUT", "/models/parrot/traffic", weights)
    assert refused.problem == (400, "INVALID_MODEL", "weights")


def test_of_many_that_register_one_name_at_once_one_does(served: Managed) -> None:
    """The others are told so, or that as many wait as may; nothing is half there."""
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: served.ask("POST", "/models", {"url": "echo"}), range(12)))
    statuses = [answer.status for answer in answers]
    assert statuses.count(201) == 1
    others = {answer.problem[:2] for answer in answers if answer.status != 201}
    assert others <= {(409, "MODEL_EXISTS"), (429, "TOO_MANY_CHANGES")}
    assert served.backend.listed()["echo/1.0"] == "ready"
    assert len(served.processes("echo/1.0")) == 1


def test_a_model_may_come_while_it_goes(served: Managed) -> None:
    """The one that goes finishes its requests, the one that comes has a queue of its own."""
    first = served.ask("POST", "/models", {"url": "echo"}).json["queue"]
    inputs = {"text": "a", "sleep_seconds": 0.5}
    with clients(served.backend.address, 2) as made, ThreadPoolExecutor(3) as threads:
        calls = [threads.submit(client.predict, "echo", inputs) for client in made]
        wait_until(lambda: served.status()["models"][-1]["waiting"] > 0, "requests wait")
        going = threads.submit(served.ask, "DELETE", "/models/echo")
        wait_until(lambda: "echo/1.0" not in served.backend.listed(), "it goes")
        came = served.ask("POST", "/models", {"url": "echo"})
        assert came.status == 201
        assert came.json["queue"] != first
        assert going.result(PATIENCE).status == 200
        assert [call.result(PATIENCE)["text"] for call in calls] == ["a", "a"]


@pytest.mark.security(
    endpoint="admin-http",
    attack=(
        "Members that are unknown, of another type, nested without end or there twice; models and paths "
        "that do not exist"
    ),
    outcome=("400, 404, 405 or 409, with the name of the member that is wrong; no model is added or removed"),
)
@pytest.mark.parametrize(
    ("method", "path", "body", "problem"),
    [
        ("POST", "/models", {"url": "nothing"}, (404, "MODEL_NOT_FOUND", "url")),
        ("POST", "/models", {"url": "echo", "colour": 1}, (400, "MALFORMED_REQUEST", "colour")),
        ("POST", "/models", {"url": "echo", "name": 3}, (400, "MALFORMED_REQUEST", "name")),
        ("POST", "/models", {"url": "echo", "settings": {"size": 1}}, (400, "INVALID_MODEL", "size")),
        ("POST", "/models", {"url": "echo", "settings": {"nice": 99}}, (400, "INVALID_MODEL", "nice")),
        ("POST", "/models", {}, (400, "MALFORMED_REQUEST", "url")),
        ("POST", "/models", [], (400, "MALFORMED_REQUEST", None)),
        ("POST", "/models", b"{", (400, "MALFORMED_REQUEST", None)),
        ("POST", "/models", b"[" * 100_000, (400, "MALFORMED_REQUEST", None)),
        (
            "POST",
            "/models",
            b'{"url": "echo", "settings": {"nice": ' + b"[" * 900 + b"]" * 900 + b"}}",
            (400, "MALFORMED_REQUEST", "settings"),
        ),
        ("POST", "/models", b'{"url": "echo", "url": "no"}', (400, "MALFORMED_REQUEST", "url")),
        (
            "PUT",
            "/models/face_detection/traffic",
            b'{"1.0": 1, "1.0": 100}',
            (400, "MALFORMED_REQUEST", "1.0"),
        ),
        ("POST", "/models?url=echo", {}, (400, "MALFORMED_REQUEST", None)),
        ("PUT", "/models/face_detection", {"min_workers": 2}, (409, "MODEL_CONFLICT", "name")),
        ("PUT", "/models/face_detection", {"max_workers": 2}, (400, "MALFORMED_REQUEST", "min_workers")),
        ("PUT", "/models/echo", {"min_workers": 1, "name": "x"}, (400, "MALFORMED_REQUEST", "name")),
        ("PUT", "/models/echo", {"min_workers": True}, (400, "MALFORMED_REQUEST", "min_workers")),
        ("DELETE", "/models/echo/9", None, (404, "MODEL_NOT_FOUND", "name")),
        ("DELETE", "/models/echo", {"force": True}, (400, "MALFORMED_REQUEST", "force")),
        ("PUT", "/models/echo/default", {}, (400, "MALFORMED_REQUEST", "version")),
        ("PUT", "/models/echo/traffic", b'{"1": 50, "1": 100}', (400, "MALFORMED_REQUEST", "1")),
        ("PUT", "/log-level", b'{"level": "INFO", "level": "DEBUG"}', (400, "MALFORMED_REQUEST", "level")),
        ("POST", "/drain", {"now": True}, (400, "MALFORMED_REQUEST", "now")),
        ("GET", "/nothing", None, (404, "ROUTE_NOT_FOUND", None)),
        ("PATCH", "/models", {}, (405, "METHOD_NOT_ALLOWED", None)),
    ],
)
def test_what_is_wrong_is_named(
    served: Managed, method: str, path: str, body: object, problem: tuple[int, str, str | None]
) -> None:
    """As the gateway names it; and nothing is changed."""
    answer = served.ask(method, path, body, headers=JSON | {"X-Request-ID": "mine"})
    assert answer.problem == problem
    assert (answer.json["request_id"], answer.headers["x-request-id"]) == ("mine", "mine")
    assert list(served.backend.listed()) == ["face_detection/1.0"]


@pytest.mark.security(
    endpoint="admin-http",
    attack="A body of 2 MiB",
    outcome="413 before a byte of it has come",
)
def test_a_body_that_is_too_large_is_refused_by_its_head(served: Managed) -> None:
    """Nobody waits for it to come."""
    answer = served.ask("POST", "/models", headers=JSON | {"Content-Length": str(1 << 21)})
    assert answer.problem == (413, "BODY_TOO_LARGE", None)


@pytest.mark.security(
    endpoint="admin-http",
    attack="A body within the limit that takes more than the limit as a command",
    outcome="413; others are answered",
)
def test_a_change_that_no_line_holds_is_refused(served: Managed) -> None:
    """Letters that JSON writes with six bytes make it longer than its body; others are answered as before."""
    body = ('{"url": "' + "é" * 400_000 + '"}').encode()
    assert served.ask("POST", "/models", body).problem == (413, "BODY_TOO_LARGE", None)
    assert served.ask("GET", "/models").status == 200


@pytest.mark.security(
    endpoint="admin-http",
    attack=(
        "A web page that has its reader's browser ask the management, from another origin or by DNS "
        "rebinding (a name that was changed to mean this machine)"
    ),
    outcome="403 for reading, for changes, and for paths that do not exist",
)
@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"Origin": "http://127.0.0.1:8002"}, "Origin"),
        ({"Origin": "null"}, "Origin"),
        ({"Sec-Fetch-Site": "cross-site"}, "Sec-Fetch-Site"),
        ({"Sec-Fetch-Site": "same-site"}, "Sec-Fetch-Site"),
        ({"Sec-Fetch-Site": "none, cross-site"}, "Sec-Fetch-Site"),
        ({"Host": "rebound.example"}, "Host"),
        ({"Host": "localhost.evil.example:8002"}, "Host"),
        ({"Host": ""}, "Host"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/statusz"), ("POST", "/drain"), ("GET", "/nothing")])
def test_what_a_web_page_sends_is_refused(
    served: Managed, method: str, path: str, headers: dict[str, str], field: str
) -> None:
    """Of any origin, and of a name that was changed to mean this machine."""
    assert served.ask(method, path, headers=JSON | headers).problem == (403, "REQUEST_REFUSED", field)


@pytest.mark.security(
    endpoint="admin-http",
    attack="Changes that are not sent as JSON, as a web page can send them without asking first",
    outcome="415",
)
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/drain"), ("PUT", "/log-level"), ("DELETE", "/models/a")]
)
def test_a_change_says_that_it_is_json(served: Managed, method: str, path: str, content_type: str) -> None:
    """A web page could send any other without having asked."""
    answer = served.ask(method, path, headers={"Content-Type": content_type})
    assert answer.problem == (415, "UNSUPPORTED_CONTENT_TYPE", "Content-Type")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8002", "[::1]:8002"])
def test_names_of_this_machine_are_served(served: Managed, host: str) -> None:
    """With any port, which a tunnel may change; and a page of this very address."""
    headers = {"Host": host, "Sec-Fetch-Site": "same-origin"}
    assert served.ask("GET", "/models", headers=headers).status == 200


@pytest.mark.security(
    endpoint="keys",
    attack=(
        "The management without a key, with parts of one or a revoked one, and a change with the "
        "password that a browser keeps"
    ),
    outcome="401",
)
def test_a_key_is_demanded_where_there_are_keys(tmp_path: Path) -> None:
    """On loopback, too; a browser may send it as a password, but not with a change."""
    keys = KeyFile(tmp_path)
    secret = keys.add("operators", MANAGE)
    password = base64.b64encode(f"me:{secret}".encode()).decode()
    with managed(tmp_path, **keys.environ, FACET_WORKERS="1") as served:

        def ask(shown: str, method: str = "GET", path: str = "/log-level") -> Answer:
            body = None if method == "GET" else {"level": "INFO"}
            return served.ask(method, path, body, headers={"Authorization": shown, **JSON})

        for path in ("/models", "/statusz", "/nothing"):
            refused = served.ask("GET", path, headers={})
            assert refused.problem == (401, "KEY_MISSING", "Authorization")
            assert refused.headers["www-authenticate"].startswith("Basic realm=")  # after Bearer
        assert served.ask("GET", "/healthz", headers={}).status == 200
        shown = ("", secret, "Bearer", f"Bearer {secret[:-1]}", "Basic ?", "Basic bWU6eA==")
        assert [ask(one).status for one in shown] == [401] * 6
        assert [ask(f"Bearer {secret}").status, ask(f"bearer {secret}").status] == [200, 200]
        assert [ask(f"Bearer {secret}", "PUT").status, ask(f"Basic {password}", "PUT").status] == [200, 401]
        assert ask(f"Basic {password}", path="/statusz").status == 200
        keys.revoke("operators")
        wait_until(lambda: ask(f"Bearer {secret}").status == 401, "it is revoked")
        assert ask(f"Bearer {secret}").problem[1] == "KEY_UNKNOWN"
        assert not any(one in served.backend.process.log() for one in (secret, password))


@pytest.mark.security(
    endpoint="admin-http",
    attack="20 heads and 20 bodies that do not go on, and 500 requests whose answers nobody reads",
    outcome="Others are answered, and the supervisor answers its commands",
)
def test_clients_that_do_not_go_on_hold_up_nobody(served: Managed) -> None:
    """Neither this process, nor the supervisor: a head, a body and answers that end nowhere."""
    host, _, port = served.address.rpartition(":")
    with contextlib.ExitStack() as stack:
        for begun in (
            b"GET /stat",
            b"POST /models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
        ):
            for _ in range(20):
                slow = stack.enter_context(socket.create_connection((host, int(port))))
                slow.sendall(begun)
        deaf = stack.enter_context(socket.create_connection((host, int(port))))
        deaf.sendall(b"GET /statusz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500)
        assert served.ask("GET", "/statusz").status == 200
        assert served.backend.manage(commands.Status())["state"] == "ready"


@pytest.mark.security(
    endpoint="admin-http",
    attack="150 idle connections, where 100 are kept",
    outcome="Those that have been quiet longest are closed; others are answered",
)
def test_more_connections_than_are_kept_shut_nobody_out(served: Managed) -> None:
    """Those that are quiet for longest are closed for those that come."""
    host, _, port = served.address.rpartition(":")
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(150)]
        assert served.ask("GET", "/models").status == 200
        gone = [number for number, connection in enumerate(idle) if answered(connection)]
    assert gone == list(range(len(gone)))
    assert 50 <= len(gone) < 100


@pytest.mark.security(
    endpoint="admin-http",
    attack="Bodies of 16 and 128 MiB that are sent all the same",
    outcome="413 to the first; the connection of the second is cut off",
)
def test_a_body_that_is_too_large_may_come_as_a_whole(served: Managed) -> None:
    """A client that sends all of it before it reads is told why it is refused; none may send for ever."""
    host, _, port = served.address.rpartition(":")
    for size, is_told in ((16 << 20, True), (128 << 20, False)):
        with contextlib.closing(socket.create_connection((host, int(port)))) as made:
            made.settimeout(PATIENCE)
            head = f"POST /models HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
            made.sendall(head.encode())
            if is_told:
                made.sendall(bytes(size))
                assert made.makefile("rb").readline() == b"HTTP/1.1 413 Request Entity Too Large\r\n"
            else:
                with pytest.raises(ConnectionError):
                    made.sendall(bytes(size))


@pytest.mark.security(
    endpoint="admin-http",
    attack="A length beside chunks, and chunks in HTTP/1.0, with another request behind them",
    outcome="400, one answer, and the connection ends",
)
@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
        "HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive",
    ],
)
def test_a_body_whose_end_proxies_may_see_elsewhere_is_refused(served: Managed, head: str) -> None:
    """What follows is no request of its own."""
    host, _, port = served.address.rpartition(":")
    following = "PUT /log-level HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with contextlib.closing(socket.create_connection((host, int(port)))) as made:
        made.settimeout(PATIENCE)
        made.sendall(f"POST /models {head}\r\nHost: localhost\r\n\r\n0\r\n\r\n{following}".encode())
        reply = read_reply(made)
        assert (reply.status, reply.json["reason"]) == (400, "MALFORMED_REQUEST")
        assert ended(made)


@pytest.mark.security(
    endpoint="admin-http",
    attack=(
        "Answers that a cache keeps, that a browser takes for another type, or that tell which server this is"
    ),
    outcome="`no-store`, `nosniff`, and no `Server` field, in six kinds of answers and errors",
)
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /statusz HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /statusz HTTP/1.1\r\nHost: rebound.example\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"POST /models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5, 6\r\n\r\n",
    ],
    ids=["health", "page", "no route", "another host", "another version", "no length"],
)
def test_no_answer_is_kept_taken_for_another_type_or_names_its_server(
    served: Managed, request_bytes: bytes
) -> None:
    """Whoever gives it."""
    host, _, port = served.address.rpartition(":")
    with contextlib.closing(socket.create_connection((host, int(port)), PATIENCE)) as made:
        made.sendall(request_bytes)
        assert_safe_fields(read_reply(made), "no-store")


@pytest.mark.security(
    endpoint="admin-http",
    attack=(
        "The requests that two servers could read differently, as they were sent to the gateway, each "
        "with another request where a body can be"
    ),
    outcome="One answer each, or more is waited for; what is in a body is never served",
)
@pytest.mark.parametrize("odd", ODD_REQUESTS, ids=lambda odd: odd.name)
def test_an_odd_request_is_one_request(served: Managed, odd: Odd) -> None:
    """Then the connection ends, or the next one is read; or the server waits for more of it."""
    host, _, port = served.address.rpartition(":")
    health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = odd.data.replace(b"Host: x", b"Host: localhost", 1).replace(b"image/jpeg", b"application/json", 1)
    with contextlib.closing(socket.create_connection((host, int(port)), PATIENCE)) as made:
        made.sendall(head.replace(b"/predict", b"/models", 1))
        if not answered(made, 0.3):
            return
        if read_reply(made).headers.get("Connection") == "close":
            assert ended(made)
        else:
            made.sendall(health)
            assert read_reply(made).json == {"status": "ok"}
    paths = [line.get("path") for line in served.backend.process.logged("management request")]
    assert SMUGGLED_PATH not in paths


def test_connections_are_kept(served: Managed) -> None:
    """For programs that ask again."""
    with contextlib.closing(connection(served.address)) as made:
        for _ in range(3):
            made.request("GET", "/healthz")
            assert made.getresponse().read() == b'{"status":"ok"}'


def test_status_tells_of_everything(served: Managed) -> None:
    """As JSON; queues, processes, models and what failed."""
    served.ask("POST", "/models", {"url": "echo"})
    status = served.status()
    assert (status["state"], status["pid"], status["log_level"]) == (
        "ready",
        served.backend.process.pid,
        "INFO",
    )
    groups = {group["name"]: group for group in status["groups"]}
    assert list(groups) == ["workers", "admin", "echo/1.0"]
    assert (groups["workers"]["wanted"], groups["workers"]["waiting"]) == (2, 0)
    assert groups["admin"]["waiting"] is None
    assert len({process["slot"] for group in groups.values() for process in group["processes"]}) == 4
    assert [model["name"] for model in status["models"]] == ["face_detection", "echo"]


def test_status_tells_what_failed_lately(served: Managed) -> None:
    """By the supervisor's own lines, the newest first."""
    served.ask("POST", "/models", {"url": "echo"})
    [process] = served.processes("echo/1.0")
    os.kill(process["pid"], signal.SIGKILL)
    wait_until(lambda: served.status()["failures"] != [], "it is told")
    latest = served.status()["failures"][0]
    assert (latest["level"], latest["message"]) == ("error", "worker crashed")
    assert (latest["fields"]["model"], latest["fields"]["how"]) == ("echo/1.0", "killed by SIGKILL")
