"""Rules of the backend: real workers, real pictures, real signals."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from inference_server.detector.choice import choose
from protos import infer_pb2 as pb
from protos import infer_pb2_grpc
from tests.support.facet import found, without_native
from tests.support.facet import inference as backend
from tests.support.pictures import ASTRONAUT, encoded, group_photo, png
from tests.support.processes import ROOT, Process, alive, children, parse, running, wait_until
from utils import calls
from utils.domain import Detection, DetectOptions, DetectRequest
from utils.errors import MalformedRequest, UnsupportedImageFormat
from utils.service_client import ServiceClient

COMMAND = [sys.executable, "-m", "inference_server"]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Process, str]]:
    """A backend of two workers that the tests of this module share, and its address."""
    with backend() as (process, address):
        yield process, address


@pytest.fixture
def client(served: tuple[Process, str]) -> Iterator[ServiceClient]:
    """A client of it."""
    with ServiceClient(served[1], timeout=30) as made:
        yield made


def same(detection: Detection) -> tuple[object, ...]:
    """What two detections of one picture share: everything but the time they took."""
    return detection.faces, detection.image, detection.model


@dataclass(frozen=True)
class Socket:
    """An internet socket, by the kernel's own table."""

    port: int
    listens: bool
    inode: str


def internet_sockets() -> list[Socket]:
    """All of this machine's, whatever they speak."""
    tables = [Path("/proc/net", name).read_text() for name in ("tcp", "tcp6", "udp", "udp6")]
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return [Socket(int(row[1].rpartition(":")[2], 16), row[3] == "0A", row[9]) for row in rows]


def port_of(address: str) -> int:
    """Its last part."""
    return int(address.rpartition(":")[2])


def libraries(pid: int) -> str:
    """The files that a process has mapped."""
    return Path(f"/proc/{pid}/maps").read_text()


def test_all_workers_listen_on_one_port(served: tuple[Process, str]) -> None:
    """By SO_REUSEPORT, so that each is a listener of its own."""
    process, address = served
    listeners = [one for one in internet_sockets() if one.listens and one.port == port_of(address)]
    assert len(listeners) == len(process.children()) == 2


def test_a_face_is_found_where_it_is(client: ServiceClient) -> None:
    """In the portrait, with the picture, the model and the times beside it."""
    request = DetectRequest(ASTRONAUT.read_bytes(), image_id="a", metadata={"k": "v"})
    detection = client.detect(request)
    (face,) = detection.faces
    assert 160 < face.box.up_left.x < face.landmarks.left_eye.x < face.landmarks.right_eye.x
    assert face.landmarks.right_eye.x < face.box.lower_right.x < 290
    assert face.confidence > 0.99
    assert (detection.image.width, detection.image.height) == (512, 512)
    assert (detection.image_id, detection.metadata) == ("a", {"k": "v"})
    assert (detection.model.name, detection.model.engine) == ("mtcnn", choose().engine)
    assert 0 < detection.timings.detect_ms < detection.timings.total_ms


def test_two_pictures_sent_in_parallel_get_each_its_own_answer(client: ServiceClient) -> None:
    """Fifty times each, over one channel: the same as one at a time."""
    pictures = [ASTRONAUT.read_bytes(), png(group_photo())]
    alone = [same(client.detect(picture)) for picture in pictures]
    assert len(alone[1][0]) > len(alone[0][0]) == 1  # type: ignore[arg-type]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda i: same(client.detect(pictures[i % 2])), range(100)))
    assert together == [alone[i % 2] for i in range(100)]


def test_options_reach_the_detector(client: ServiceClient) -> None:
    """At most one face of a group; none where only larger ones are looked for."""
    picture = png(group_photo())
    assert len(client.detect(DetectRequest(picture, DetectOptions(max_faces=1))).faces) == 1
    assert client.detect(DetectRequest(picture, DetectOptions(min_face_size=500))).faces == ()


def test_a_stub_made_from_the_articles_text_alone_reads_the_faces(
    served: tuple[Process, str], client: ServiceClient
) -> None:
    """In a process that knows nothing of ours: boxes, landmarks, confidence, id and metadata."""
    command = [sys.executable, str(ROOT / "tests/support/article_client.py"), served[1], str(ASTRONAUT)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    said = json.loads(output)
    (face,) = client.detect(ASTRONAUT.read_bytes()).faces
    box = [face.box.up_left.x, face.box.up_left.y, face.box.lower_right.x, face.box.lower_right.y]
    assert said["faces"][0]["box"] == box
    assert said["faces"][0]["landmarks"][0] == [face.landmarks.left_eye.x, face.landmarks.left_eye.y]
    assert said["faces"][0]["confidence"] == face.confidence
    assert (said["image_id"], said["metadata"]) == ("42", {"from": "article"})


def test_health_and_reflection_answer_on_the_same_port(served: tuple[Process, str]) -> None:
    """For the whole server and for the service by its name."""
    with grpc.insecure_channel(served[1]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "Inference"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        services = ProtoReflectionDescriptorDatabase(channel).get_services()
        assert {"Inference", "grpc.health.v1.Health"} <= set(services)


def test_a_call_is_logged_once_with_its_id_and_without_its_picture(served: tuple[Process, str]) -> None:
    """And the id comes back in the trailing metadata; one that is no id is replaced."""
    process, address = served
    with grpc.insecure_channel(address) as channel:
        stub = infer_pb2_grpc.InferenceStub(channel)
        image = pb.Image(raw_data=ASTRONAUT.read_bytes())
        image._meta_data.values["secret"] = "hush"  # noqa: S105
        for sent, kept in (("id-7", True), ("x" * 129, False)):
            _, call = stub.Predict.with_call(image, timeout=30, metadata=[("x-request-id", sent)])
            returned = dict(call.trailing_metadata())["x-request-id"]
            assert (returned == sent) == kept
            line = process.wait_for("request", request_id=returned)
            assert (line["status"], line["faces"], line["width"]) == ("OK", 1, 512)
            assert line["bytes"] == len(image.raw_data)
            assert {"queue_ms", "decode_ms", "detect_ms", "elapsed_ms"} <= set(line)
    assert "hush" not in process.log()


def test_no_process_loads_what_it_does_not_need(served: tuple[Process, str]) -> None:
    """The supervisor none of gRPC, NumPy and the engines; a worker nothing of TensorFlow and pydantic."""
    process, _ = served
    for name in ("grpc", "cygrpc", "numpy", "facet_native", "onnx", "tensorflow", "PIL"):
        assert name not in libraries(process.pid)
    workers = process.children()
    assert len(workers) == 2
    for worker in workers:
        assert "tensorflow" not in libraries(worker)
        assert "pydantic" not in libraries(worker)
        assert ("onnxruntime" in libraries(worker)) == (choose().engine == "onnx")
        assert ("facet_native" in libraries(worker)) == (choose().engine == "native")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("group", [False, True], ids=["alone", "group"])
def test_a_stop_finishes_what_was_accepted_and_exits_0(signum: signal.Signals, group: bool) -> None:
    """Whether the signal reaches the supervisor alone or its whole process group."""
    picture = png(group_photo())
    with backend() as (process, address), ServiceClient(address, timeout=30) as client:
        family = process.children()
        client.detect(picture)
        with ThreadPoolExecutor(4) as threads:
            calls = [threads.submit(client.detect, picture) for _ in range(4)]
            wait_until(lambda: len(process.logged("request")) >= 2, "calls under way")
            (process.send_group if group else process.send)(signum)
            assert process.wait() == 0
            done = [call for call in calls if call.exception() is None]
        assert not any(alive(pid) for pid in family)
        assert done
        assert not process.logged("worker crashed")


def test_workers_die_with_their_supervisor() -> None:
    """However it died."""
    with backend() as (process, _):
        family = process.children()
        process.send(signal.SIGKILL)
        wait_until(lambda: not any(map(alive, family)), "the workers are gone")


def test_a_start_right_after_everything_was_killed_finds_its_address_free() -> None:
    """No lock file, no TIME_WAIT and no orphan is in its way."""
    picture = ASTRONAUT.read_bytes()
    with (
        backend() as (process, address),
        ServiceClient(address, timeout=30) as client,
        ThreadPoolExecutor(4) as threads,
    ):
        calls = [threads.submit(client.detect, picture) for _ in range(20)]
        wait_until(lambda: process.logged("request") != [], "load")
        process.send_group(signal.SIGKILL)
        with backend(FACET_GRPC_ADDRESS=address) as (_, again):
            assert again == address
            wait_until(lambda: found(client, picture) == 1, "the client has found the new backend")
        for call in calls:
            call.exception()


@pytest.mark.security(
    endpoint="processes",
    attack="A second backend at the same address",
    outcome="Its start ends with one line; the first one serves on",
)
def test_a_second_instance_on_the_same_address_is_refused(served: tuple[Process, str]) -> None:
    """With one line that names the setting, and without a harm to the first."""
    with running(COMMAND, FACET_GRPC_ADDRESS=served[1]) as second:
        assert second.wait() == 1
        assert len(second.lines) == 1
        assert "FACET_GRPC_ADDRESS" in second.lines[0]
        assert served[1] in second.lines[0]
    with ServiceClient(served[1], timeout=30) as client:
        client.check_ready()


@pytest.mark.security(
    endpoint="processes",
    attack="Another program that listens at the address, and would share it",
    outcome="The start ends with a line that names the address",
)
def test_a_port_that_another_program_has_is_refused() -> None:
    """Even one that would let others share it."""
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        address = f"127.0.0.1:{foreign.getsockname()[1]}"
        with running(COMMAND, FACET_GRPC_ADDRESS=address) as process:
            assert process.wait() == 1
            assert address in process.lines[-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FACET_WORKERS", "many"),
        ("FACET_GRPC_ADDRESS", "50051"),
        ("FACET_ENGINE", "cuda"),
        ("FACET_CACHE_DIR", "/dev/null/facet"),
        ("FACET_IMAGE_FORMATS", "jpeg,psd"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_clear_line(name: str, value: str) -> None:
    """The last line names the variable, and there is no traceback."""
    with running(COMMAND, **{"FACET_GRPC_ADDRESS": "127.0.0.1:0", name: value}) as process:
        assert process.wait() == 1
        assert name in process.lines[-1]
        assert "Traceback" not in process.log()


def test_an_engine_that_cannot_run_stops_the_start_with_one_clear_line(tmp_path: Path) -> None:
    """A worker found it out; its first word is enough, and there is no traceback and no name of a class."""
    settings = {"FACET_GRPC_ADDRESS": "127.0.0.1:0", "FACET_WORKERS": "1", "FACET_ENGINE": "native"}
    with running(COMMAND, **settings, **without_native(tmp_path)) as process:
        assert process.wait() == 1
        reason = (
            "FACET_ENGINE is 'native', but the native engine is not available: No module named 'facet_native'"
        )
        assert process.lines[-1].startswith(f"inference_server: no worker can start: {reason}")
        assert len(process.logged("worker crashed")) == 1
        assert not any(word in process.log() for word in ("Traceback", "traceback", "EngineUnavailable"))


def test_the_engine_is_logged_once_by_what_the_workers_chose(served: tuple[Process, str]) -> None:
    """Not by each of them; the line says why."""
    (line,) = served[0].logged("engine")
    chosen = choose()
    assert (line["engine"], line["reason"]) == (chosen.engine, chosen.reason)
    assert line.get("instruction_set", "") == chosen.instruction_set
    assert line["level"] == ("warning" if chosen.degraded else "info")


def test_the_packages_own_networks_serve_where_tensorflow_is_named() -> None:
    """It boots within the supervisor's patience, says who found the face, and prints nothing of its own."""
    with (
        backend(FACET_ENGINE="tensorflow") as (process, address),
        ServiceClient(address, timeout=30) as client,
    ):
        detection = client.detect(ASTRONAUT.read_bytes())
        assert (len(detection.faces), detection.model.engine) == (1, "tensorflow")
        assert [line["engine"] for line in process.logged("engine")] == ["tensorflow"]
        assert "tensorflow" not in libraries(process.pid)
        assert all(parse(line) for line in process.lines)
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert not process.logged("worker hung") + process.logged("worker crashed")


def test_a_format_that_is_left_out_is_refused() -> None:
    """By its bytes, and with the names of those that are accepted."""
    with (
        backend(FACET_IMAGE_FORMATS="jpeg,webp") as (_, address),
        ServiceClient(address, timeout=30) as client,
    ):
        with pytest.raises(UnsupportedImageFormat, match="looks like PNG; accepted: JPEG, WebP"):
            client.detect(png(group_photo()))
        assert client.detect(encoded(group_photo(), "JPEG")).faces


def test_an_unknown_setting_is_a_warning() -> None:
    """The start goes on."""
    with backend(FACET_WORKERZ="3") as (process, _):
        assert any("FACET_WORKERS?" in line for line in process.lines)


def test_a_cold_cache_is_filled_by_the_first_start(tmp_path: Path) -> None:
    """By a process of its own, which is gone when the workers are ready; a second start finds it filled."""
    for converted in (True, False):
        with backend(FACET_CACHE_DIR=str(tmp_path)) as (process, _):
            assert bool(process.logged("converting the models")) == converted
            assert len(children(process.pid)) == 2


def test_a_worker_computes_on_one_thread(served: tuple[Process, str], client: ServiceClient) -> None:
    """No library under it starts a thread for each CPU: workers would fight for them."""
    client.detect(ASTRONAUT.read_bytes())
    for worker in served[0].children():
        environ = Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")
        assert {b"OMP_NUM_THREADS=1", b"OPENBLAS_NUM_THREADS=1"} <= set(environ)


@pytest.mark.security(
    endpoint="processes",
    attack="Libraries that report to their makers",
    outcome=(
        "The cache folder has Facet's files alone, and a worker has no connection but those of its clients"
    ),
)
@pytest.mark.parametrize("engine", ["native", "onnx"])
def test_nothing_but_the_models_is_written_and_nobody_is_called(tmp_path: Path, engine: str) -> None:
    """ONNX Runtime would leave an identifier in the cache folder, and report to its maker."""
    if engine == "native":
        pytest.importorskip("facet_native")
    settings = {"FACET_ENGINE": engine, "XDG_CACHE_HOME": str(tmp_path)}
    with backend(**settings) as (process, address), ServiceClient(address) as client:
        assert client.detect(ASTRONAUT.read_bytes(), timeout=30).model.engine == engine
        assert [path.name for path in tmp_path.iterdir()] == ["facet"]
        for worker in process.children():
            files = [fd.readlink() for fd in Path(f"/proc/{worker}/fd").iterdir()]
            assert not any("Microsoft" in file.parts for file in files)
            own = [one for one in internet_sockets() if Path(f"socket:[{one.inode}]") in files]
            # Its listener, and its clients, whom it has there.
            assert {one.port for one in own} == {port_of(address)}
            assert sum(one.listens for one in own) == 1


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_it_starts_is_a_stop(signum: signal.Signals, tmp_path: Path) -> None:
    """Status 0 and no traceback, however early: here while it converts the models."""
    settings = {"FACET_GRPC_ADDRESS": "127.0.0.1:0", "FACET_CACHE_DIR": str(tmp_path)}
    with running(COMMAND, **settings) as process:
        process.wait_for("converting the models")
        process.send(signum)
        assert process.wait() == 0
        assert "Traceback" not in process.log()


@pytest.mark.security(
    endpoint="grpc",
    attack="A picture's metadata of 300 entries or of 70,000 characters, and an id of 2,000",
    outcome="INVALID_ARGUMENT, or an error of the client's own",
)
def test_notes_that_are_no_notes_are_refused(client: ServiceClient) -> None:
    """Megabytes of metadata would keep the event loop from everybody else."""
    for metadata in ({str(i): "" for i in range(300)}, {"a": "x" * 70_000}):
        message = pb.Image(raw_data=ASTRONAUT.read_bytes())
        message._meta_data.values.update(metadata)
        with pytest.raises(MalformedRequest) as caught:
            client._make(replace(calls.detect(b""), message=message))
        assert caught.value.field == "metadata"
    with pytest.raises(MalformedRequest):
        DetectRequest(b"x", image_id="x" * 2000)


def booting(process: Process, workers: int) -> list[int]:
    """So many workers that were started a moment ago, and have hardly imported anything yet."""
    wait_until(lambda: len(process.children()) == workers, f"{workers} workers were started")
    return process.children()


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU])
def test_a_signal_to_the_group_reaches_no_worker_that_still_boots(signum: signal.Signals) -> None:
    """However little of it runs: it neither ends nor stands still, and nobody calls it crashed."""
    settings = {"FACET_GRPC_ADDRESS": "127.0.0.1:0", "FACET_WORKERS": "4"}
    with running(COMMAND, **settings) as process:
        workers = booting(process, 4)
        process.send_group(signum)
        process.wait_for("worker ready", worker=workers[0])
        wait_until(lambda: len(process.logged("worker ready")) >= 4, "all are ready")
        assert not process.logged("worker crashed") + process.logged("worker hung")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_of_the_group_while_workers_boot_is_a_stop(signum: signal.Signals) -> None:
    """Status 0, no traceback of anybody's, and nobody calls a worker crashed."""
    with running(COMMAND, FACET_GRPC_ADDRESS="127.0.0.1:0", FACET_WORKERS="4") as process:
        booting(process, 4)
        process.send_group(signum)
        assert process.wait() == 0
        assert not process.logged("worker crashed")
        assert "Traceback" not in process.log()


def test_a_worker_that_is_told_to_stop_before_it_serves_ends_at_once() -> None:
    """With status 0, however early, for it has nothing to finish; another one is started."""
    with running(COMMAND, FACET_GRPC_ADDRESS="127.0.0.1:0", FACET_WORKERS="1") as process:
        os.kill(booting(process, 1)[0], signal.SIGTERM)
        process.wait_for("worker crashed", how="exited with 0")
        process.wait_for("ready")


def test_signals_of_a_running_backend_are_passed_over_while_it_starts(tmp_path: Path) -> None:
    """There is nothing yet to reload or to scale; neither it nor its converter ends or stands still."""
    settings = {"FACET_GRPC_ADDRESS": "127.0.0.1:0", "FACET_WORKERS": "1", "FACET_CACHE_DIR": str(tmp_path)}
    with running(COMMAND, **settings) as process:
        process.wait_for("converting the models")
        for signum in (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU):
            process.send_group(signum)
        process.wait_for("ready", workers=1)
