"""Prints the parity report at the end of a run, a green one too."""

import pytest

from tests.parity.report import Report

REPORTS = pytest.StashKey[list[Report]]()


def pytest_configure(config: pytest.Config) -> None:
    """Start with no report."""
    config.stash[REPORTS] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was compared, and how it came out."""
    reports = config.stash.get(REPORTS, [])
    if reports:
        terminalreporter.section("parity with mtcnn 1.0.0")
    for report in reports:
        for line in report.lines():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def reports(request: pytest.FixtureRequest) -> list[Report]:
    """The reports that the run ends with; a comparison adds its own."""
    return request.config.stash.setdefault(REPORTS, [])
