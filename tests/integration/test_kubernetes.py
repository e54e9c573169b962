"""deploy/kubernetes/overlays/complete without a cluster: both processes with the variables of their pods.

Secrets lie as a kubelet mounts them: each file is a link through a folder, which is replaced as a whole.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import onnx_models
from tests.support.certificates import Authority
from tests.support.endpoints import answers, http_request
from tests.support.facet import Facet, gateway, inference
from tests.support.keys import KeyFile, bearer
from tests.support.kubernetes import Pod, Rendered
from tests.support.pictures import ASTRONAUT
from tests.support.processes import ROOT, wait_until
from utils.rate_limits import limits_path

PODS = Rendered("complete").pods()
BACKEND, GATEWAY = PODS["facet-backend"], PODS["facet-gateway"]


class Mount:
    """A Secret in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._versions = 0

    def write(self, content: Mapping[str, bytes]) -> None:
        """Have these files and no others."""
        self._versions += 1
        version = self.folder / f"..{self._versions}"
        version.mkdir()
        for name, data in content.items():
            (version / name).write_bytes(data)
            (version / name).chmod(0o440)
        link = self.folder / "..new"
        link.symlink_to(version.name)
        link.replace(self.folder / "..data")
        for name in content:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")


class Keys:
    """The Secret facet-keys: a file of keys, with one of gateways, as it was last mounted."""

    def __init__(self, folder: Path) -> None:
        self.mount = Mount(folder / "keys")
        self._file = KeyFile(folder)
        self._gateway = self._file.add("gateway", "gateway")
        self._update()

    def add(self, name: str, scope: str) -> str:
        """Make a key, and change the Secret."""
        key = self._file.add(name, scope)
        self._update()
        return key

    def _update(self) -> None:
        self.mount.write({"keys.json": self._file.path.read_bytes(), "gateway.key": self._gateway.encode()})


class Cluster(NamedTuple):
    """Both processes, their keys, and the variables of the backend."""

    facet: Facet
    keys: Keys
    environ: dict[str, str]

    def predict(self, key: str) -> int:
        """The status of a request for faces."""
        return http_request(self.facet.http, "POST", "/predict", ASTRONAUT.read_bytes(), bearer(key))[0]


def environ(pod: Pod, places: Mapping[str, Path]) -> dict[str, str]:
    """The variables of a pod, their folders being others, and ports and names this machine's."""
    given = {name: value for name, value in pod.environ.items() if name != "FACET_CACHE_DIR"}
    for name, value in given.items():
        for folder, place in places.items():
            if value == folder or value.startswith(f"{folder}/"):
                given[name] = value.replace(folder, str(place), 1)
    here = dict.fromkeys(("FACET_HTTP_ADDRESS", "FACET_GRPC_ADDRESS"), "127.0.0.1:0")
    metrics = dict.fromkeys(("FACET_ADMIN_ADDRESS", "FACET_HTTP_METRICS_ADDRESS"), "0.0.0.0:0")
    return given | here | metrics | {"FACET_BACKEND_TLS_NAME": "localhost", "FACET_DRAIN_SECONDS": "0"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """With a key for gateways alone, and a model in the store."""
    folder = tmp_path_factory.mktemp("cluster")
    keys, tls = Keys(folder), Mount(folder / "tls")
    authority = Authority(folder / "authority")
    pair = authority.issue("backend")
    names = {"tls.crt": pair.cert, "tls.key": pair.key, "ca.crt": authority.cert}
    tls.write({name: file.read_bytes() for name, file in names.items()})
    model = onnx_models.linear(folder / "models" / "scores" / "1")
    (model / "model.toml").write_text('kind = "onnx"\n')
    places = {
        "/etc/facet/keys": keys.mount.folder,
        "/etc/facet/tls": tls.folder,
        "/var/lib/facet": folder,
        "/tmp": folder,  # noqa: S108 - of the pod
    }
    of_backend, of_gateway = environ(BACKEND, places), environ(GATEWAY, places)
    try:
        with (
            inference(**of_backend) as (backend, grpc),
            gateway(**of_gateway | {"FACET_BACKEND": grpc}) as (web, http),
        ):
            facet = Facet(web, backend, http, grpc)
            wait_until(lambda: answers(http, "/readyz", 200), "the gateway is ready")
            yield Cluster(facet, keys, of_backend | {"FACET_GRPC_ADDRESS": grpc})
    finally:
        limits_path(keys.mount.folder / "keys.json").unlink(missing_ok=True)


def test_a_key_that_comes_with_a_change_of_the_secret_counts(cluster: Cluster) -> None:
    """Without a restart, in the gateway, whose own key the backend takes; a stranger's is refused."""
    assert cluster.predict("facet_stranger") == 401
    key = cluster.keys.add("shop", "predict")
    wait_until(lambda: cluster.predict(key) == 200, "the key counts")


def test_the_probe_of_a_backend_with_tls_succeeds(cluster: Cluster) -> None:
    """With the variables of its pod; without the authority it fails."""
    _, *arguments = BACKEND.container["readinessProbe"]["exec"]["command"]
    command = [sys.executable, *(argument.removeprefix("facet_serving.") for argument in arguments)]
    for changed, status in ({}, 0), ({"FACET_BACKEND_TLS_CA_FILE": "", "FACET_BACKEND_TLS_NAME": ""}, 1):
        done = subprocess.run(command, cwd=ROOT, env=cluster.environ | changed, check=False, timeout=60)
        assert done.returncode == status


def test_metrics_are_told_to_who_has_the_key_and_calls_by_the_number_of_the_pod(cluster: Cluster) -> None:
    """Of both processes."""
    key = cluster.keys.add("prometheus", "manage")
    number = BACKEND.environ["POD_IP"]
    web, backend = cluster.facet.gateway, cluster.facet.inference
    for line, member in ((web, "http_metrics_address"), (backend, "admin_address")):
        _, _, port = str(line.logged("ready")[0][member]).rpartition(":")

        def status(key: str, host: str, port: str = port) -> int:
            headers = bearer(key) | {"Host": f"{host}:{port}"}
            return http_request(f"127.0.0.1:{port}", "GET", "/metrics", None, headers)[0]

        wait_until(lambda status=status: status(key, number) == 200, f"{member} tells metrics")  # type: ignore[misc]
        assert status("facet_stranger", number) == 401
        assert status(key, "10.0.0.99") == 403


def test_models_are_those_of_the_volume_that_the_settings_name(cluster: Cluster) -> None:
    """And the faces' own."""
    key = cluster.keys.add("reader", "predict")

    def listed() -> bool:
        status, _, body = http_request(cluster.facet.http, "GET", "/models", None, bearer(key))
        names = {one["name"] for one in json.loads(body).get("models", [])}
        return status == 200 and names == {"face_detection", "scores"}

    wait_until(listed, "both models are listed")
