"""A real nginx with the configuration that we recommend."""

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.support.endpoints import answers
from tests.support.facet import free_port
from tests.support.processes import ROOT, running, wait_until
from tests.support.tools import tool

_MAIN = """
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


def configuration(folder: Path, listen: int, gateways: list[int]) -> Path:
    """deploy/nginx.conf with other ports, and the main file around it that a distribution has."""
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    text, listens = re.subn(r"listen 80;", f"listen 127.0.0.1:{listen};", text)
    text, servers = re.subn(r"127\.0\.0\.1:800([01])", lambda m: f"127.0.0.1:{gateways[int(m[1])]}", text)
    assert (listens, servers) == (1, 2)
    (folder / "facet.conf").write_text(text)
    # Its processes write below pytest's folder, which is ours alone.
    user = "user root;" if os.geteuid() == 0 else ""
    main = folder / "nginx.conf"
    main.write_text(_MAIN.format(folder=folder, user=user))
    return main


@contextlib.contextmanager
def nginx(folder: Path, gateways: list[int]) -> Iterator[str]:
    """A real nginx before these gateways; gives its address."""
    program = tool("nginx", "nginx-light")
    port = free_port()
    command = [program, "-e", "stderr", "-c", str(configuration(folder, port, gateways))]
    with running(command) as process:
        wait_until(lambda: answers(f"127.0.0.1:{port}", "/healthz", 200) or not process.alive(), "nginx")
        assert process.alive(), process.log()
        yield f"127.0.0.1:{port}"
        process.send(signal.SIGTERM)
        assert process.wait() == 0, process.log()


def passed_on(folder: Path) -> list[str]:
    """The target of each request that nginx has sent to a gateway, as often as it has."""
    lines = (folder / "passed.log").read_text().splitlines()
    found = []
    for line in lines:
        addresses, _, target = line.rpartition(" ")
        found += [target] * len([address for address in addresses.split(", ") if address not in {"", "-"}])
    return found
