"""The units of systemd, as its own tools see them; `make test-heavy` starts them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.tools import tool
from utils.settings import Settings, variable

FOLDER = ROOT / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    command = [tool("systemd-analyze", "systemd"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_no_fault_in_a_unit(unit: Path, tmp_path: Path) -> None:
    """With the Python that is here for the one that it names; a unit with a fault is refused."""
    text = unit.read_text().replace("/opt/facet/bin/python", sys.executable)
    for name, content, sound in (
        (unit.name, text, True),
        (f"facet-wrong-{unit.name}", text.replace("KillMode=mixed", "KillMode=mixd"), False),
    ):
        (tmp_path / name).write_text(content)
        done = analyze("verify", "--man=no", tmp_path / name)
        assert (done.returncode == 0 and done.stderr == "") is sound, done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_has_an_exposure_below_2_of_10(unit: Path) -> None:
    """Systemd's own score."""
    done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", unit)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_variables_of_a_unit_are_settings_and_it_waits_for_drain_and_grace(unit: Path) -> None:
    """Of those that are no settings, Python knows them."""
    text = unit.read_text()
    given = {
        name: value
        for line in re.findall(r"(?m)^Environment=(.*)$", text)
        for name, value in (pair.split("=", 1) for pair in line.split())
    }
    settings = {name: value for name, value in given.items() if name.startswith("FACET_")}
    assert settings.keys() <= {variable(setting) for setting in Settings.__dataclass_fields__}
    assert given.keys() - settings.keys() <= {"PYTHONSAFEPATH"}
    known = Settings.from_environ(settings)
    [patience] = re.findall(r"(?m)^TimeoutStopSec=(\d+)$", text)
    assert int(patience) > known.drain_seconds + known.grace_seconds
