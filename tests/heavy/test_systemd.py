"""The units of systemd, started by a real one, which is the first process of a container."""

import time
from collections.abc import Iterator

import pytest

from tests.heavy.conftest import Note
from tests.support.pictures import ASTRONAUT
from tests.support.podman import Container, Podman
from tests.support.processes import ROOT, Line, parse, wait_until

UNITS = ("facet-backend", "facet-gateway")

# With Facet where docs/running.md puts it, and what that page adds.
RECIPE = """
FROM facet
USER root
RUN apt-get update && apt-get install --yes --no-install-recommends systemd
RUN useradd --system --no-create-home facet
COPY *.service /etc/systemd/system/
STOPSIGNAL SIGRTMIN+3
HEALTHCHECK NONE
CMD ["/lib/systemd/systemd"]
"""

PORTRAIT = "/opt/facet/portrait.png"
CALL = f"""
import json, urllib.request
picture = open("{PORTRAIT}", "rb").read()
request = urllib.request.Request("http://127.0.0.1:8000/predict", picture, {{"Content-Type": "image/*"}})
print(len(json.load(urllib.request.urlopen(request))["results"]))
"""


class Machine:
    """What systemd runs in a container."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def run(self, *command: str) -> str:
        """Run a command there; it succeeds."""
        done = self._container.call(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self.journal()}"
        return done.stdout.strip()

    def journal(self) -> str:
        """All that the units have printed, and what systemd says of them."""
        units = [f"--unit={unit}" for unit in UNITS]
        return self._container.call("journalctl", "--output=cat", "--no-pager", *units).stdout

    def logged(self, message: str, **values: object) -> list[Line]:
        """The log lines of the units with this message and these fields."""
        lines = map(parse, self.journal().splitlines())
        return [
            line
            for line in lines
            if line.get("message") == message and all(line.get(key) == value for key, value in values.items())
        ]

    def show(self, unit: str, name: str) -> str:
        """What systemd knows of a unit."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit)

    def finds_a_face(self) -> bool:
        """Whether the gateway answers so, now."""
        return self._container.call("python", "-c", CALL).stdout.strip() == "1"


@pytest.fixture(scope="module")
def machine(podman: Podman, image: float, version: Note) -> Iterator[Machine]:  # noqa: ARG001
    """A machine whose units are started."""
    recipe = podman.folder / "systemd"
    recipe.write_text(RECIPE)
    options = ("--format=docker", "--network=host", f"--file={recipe}", "--tag=facet-systemd")
    podman("build", *options, ROOT / "deploy" / "systemd", seconds=900)
    options = ("--systemd=always", "--privileged", "--network=none", f"--volume={ASTRONAUT}:{PORTRAIT}:ro")
    with podman.container("facet-systemd", *options, image="facet-systemd") as container:
        made = Machine(container)
        wait_until(lambda: container.call("systemctl", "is-system-running").returncode == 0, "systemd runs")
        version("systemd", made.run("systemctl", "--version").split()[1])
        made.run("systemctl", "start", *UNITS)
        wait_until(lambda: bool(made.logged("ready", logger="inference_server")), "the backend is ready")
        wait_until(made.finds_a_face, "a face is found")
        yield made


def test_systemd_finds_no_fault_in_the_units(machine: Machine) -> None:
    """Where all that they name is installed."""
    files = [f"/etc/systemd/system/{unit}.service" for unit in UNITS]
    assert machine.run("systemd-analyze", "verify", "--man=no", *files) == ""


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_has_few_rights(machine: Machine, figure: Note, unit: str) -> None:
    """Systemd's own score is 10 for a unit that may do all, and its process has what the unit says."""
    said = machine.run("systemd-analyze", "security", "--no-pager", f"{unit}.service").splitlines()[-1]
    score = float(said.split(":")[1].split()[0])
    figure(f"exposure of {unit}, of 10, by `systemd-analyze security`", str(score))
    assert score < 2
    pid = machine.show(unit, "MainPID")
    status = dict(line.split(":\t", 1) for line in machine.run("cat", f"/proc/{pid}/status").splitlines())
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16)) == (0, 0)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert status["Uid"].split()[0] != "0"


def test_a_reload_of_the_backend_replaces_its_workers(machine: Machine) -> None:
    """`systemctl reload`; the supervisor stays."""
    before = machine.show(UNITS[0], "MainPID")
    machine.run("systemctl", "reload", UNITS[0])
    wait_until(lambda: bool(machine.logged("worker ready", release=1, process=None)), "new workers")
    assert machine.show(UNITS[0], "MainPID") == before
    assert machine.finds_a_face()


@pytest.mark.parametrize("unit", UNITS)
def test_a_main_process_that_is_killed_is_started_again(machine: Machine, unit: str) -> None:
    """And faces are found again."""
    before = machine.show(unit, "MainPID")
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", unit)
    wait_until(
        lambda: (machine.show(unit, "NRestarts"), machine.show(unit, "ActiveState")) == ("1", "active"),
        "it was started again",
    )
    assert machine.show(unit, "MainPID") not in {before, "0"}
    wait_until(machine.finds_a_face, "a face is found")


def test_the_units_stop_in_order_and_leave_nothing(machine: Machine, figure: Note) -> None:
    """`systemctl stop`: their main processes end with 0, and no process stays."""
    for unit in reversed(UNITS):
        began = time.monotonic()
        machine.run("systemctl", "stop", unit)
        figure(f"`systemctl stop {unit}`", f"{time.monotonic() - began:.1f} s")
        assert machine.show(unit, "Result") == "success"
        assert machine.show(unit, "ExecMainStatus") == "0"
        assert machine.show(unit, "ControlGroup") == ""
