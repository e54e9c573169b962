"""A real haproxy with the configuration that we recommend."""

import contextlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.support.endpoints import answers
from tests.support.facet import free_port
from tests.support.processes import ROOT, Process, running, wait_until
from tests.support.tools import tool

# In place of a server there is <NOSRV> where haproxy itself has answered; %rc counts further attempts.
# By one thread: of two that write at once, one drops its line.
_GLOBAL = """
global
    nbthread 1
"""
_LOG = """
    log stdout format raw local0
    log-format "passed %s %rc %HU"
"""


def configuration(folder: Path, listen: int, gateways: list[int]) -> Path:
    """deploy/haproxy.cfg with other ports, and a log of what it does."""
    text = (ROOT / "deploy" / "haproxy.cfg").read_text()
    text, binds = re.subn(r"bind :80\n", f"bind 127.0.0.1:{listen}\n", text)
    text, servers = re.subn(r"127\.0\.0\.1:800([01])", lambda m: f"127.0.0.1:{gateways[int(m[1])]}", text)
    text, modes = re.subn(r"    mode http\n", f"    mode http\n{_LOG}", text)
    assert (binds, servers, modes) == (1, 2, 1)
    path = folder / "haproxy.cfg"
    path.write_text(_GLOBAL + text)
    return path


@contextlib.contextmanager
def haproxy(folder: Path, gateways: list[int]) -> Iterator[tuple[Process, str]]:
    """A real haproxy before these gateways; gives its process, for `passed_on`, and its address."""
    program = tool("haproxy", "haproxy")
    port = free_port()
    with running([program, "-db", "-f", str(configuration(folder, port, gateways))]) as process:
        wait_until(lambda: answers(f"127.0.0.1:{port}", "/healthz", 200) or not process.alive(), "haproxy")
        assert process.alive(), process.log()
        yield process, f"127.0.0.1:{port}"
        process.send(signal.SIGTERM)
        process.wait()


def passed_on(process: Process) -> list[str]:
    """The target of each request that haproxy has sent to a gateway, as often as it has."""
    found = []
    for line in list(process.lines):
        if line.startswith("passed "):
            _, server, attempts, target = line.split(" ", 3)
            if server != "<NOSRV>":
                found += [target] * (1 + int(attempts))
    return found
