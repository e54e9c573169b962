"""What Facet's processes hold, so that two moments can be compared, and what is left when they are gone."""

import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from inference_server.dispatch.request_buffer import MOST_SPARE
from tests.soak.stage import Stage
from tests.support.processes import wait_until
from utils.settings import parse_address

_SLACK = 4
"""Descriptors that may be more: connections between the same processes fall otherwise each time."""

_BUFFER = "facet-request"


@dataclass(frozen=True)
class Footprint:
    """What an idle Facet holds, by role: descriptors in all but buffers, and megabytes for each process.

    Attributes:
        shared: The files in the machine's shared memory.
    """

    descriptors: Mapping[str, int]
    megabytes: Mapping[str, float]
    shared: frozenset[str]

    def leaks(self, later: "Footprint") -> list[str]:
        """What is there later and was not here."""
        grown = [
            f"{role}: {later.descriptors[role]} descriptors, before {count}"
            for role, count in self.descriptors.items()
            if later.descriptors[role] > count + _SLACK
        ]
        return grown + [f"shared memory: {name}" for name in sorted(later.shared - self.shared)]


def roles(stage: Stage) -> dict[str, list[int]]:
    """The process ids of Facet by role."""
    return {
        "supervisor": [stage.inference.pid],
        "worker": stage.ready(),
        "model worker": stage.model_workers(),
        "admin": stage.admin(),
        "gunicorn": [stage.gateway.pid],
        "gateway": stage.gateway.children(),
    }


def footprint(stage: Stage) -> Footprint:
    """What Facet holds now that nobody asks; waits until no request is left."""
    stage.settle()
    everyone = roles(stage)
    pids = [pid for members in everyone.values() for pid in members]
    wait_until(
        lambda: all(_buffers(pid) <= MOST_SPARE for pid in pids),
        "no buffer is left but those for the next requests",
    )
    return Footprint(
        {role: sum(map(_descriptors, members)) for role, members in everyone.items()},
        {role: sum(map(_pss, members)) / len(members) for role, members in everyone.items()},
        frozenset(os.listdir("/dev/shm")),  # noqa: PTH208, S108 - looked at, not used
    )


def listens(address: str) -> bool:
    """Whether anybody takes connections there."""
    where = parse_address(address)
    with socket.socket() as probe:
        return probe.connect_ex((where.host, where.port)) == 0


def _buffers(pid: int) -> int:
    return sum(_BUFFER in link for link in _links(pid))


def _descriptors(pid: int) -> int:
    """How many there are, without the buffers that wait for the next requests."""
    return sum(_BUFFER not in link for link in _links(pid))


def _links(pid: int) -> Iterable[str]:
    """What the descriptors of a process are."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield str(link.readlink())
        except FileNotFoundError:  # closed since
            continue


def _pss(pid: int) -> float:
    """Megabytes of a process, where what is shared counts in part."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024
