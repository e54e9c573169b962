"""What holds for all tests: in CI nothing is skipped that could run; what this CPU cannot run is named."""

import os

import pytest

from scripts.render_kubernetes import NEEDED
from tests.support.instruction_sets import lacking

_NOT_TO_BE_HAD = ("PHOTOS_DIR", NEEDED)
"""What reasons name that CI cannot install: photographs, and a kubectl that Debian does not have."""


class _NoSkips:
    """Fails a run in which a test was skipped for a reason that CI can mend."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember who was skipped, but for want of what cannot be installed."""
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = str(report.longrepr)
            if not any(name in reason for name in _NOT_TO_BE_HAD):
                self.skipped.append(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn skips into a failure."""
        if self.skipped:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say so."""
        for nodeid in self.skipped:
            terminalreporter.write_line(f"SKIPPED IN CI, where it could run: {nodeid}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    """Be strict where CI says that it is CI."""
    if os.environ.get("CI") == "true":
        config.pluginmanager.register(_NoSkips(), "no-skips")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the instruction sets on which nothing was tested."""
    for name in lacking():
        terminalreporter.write_line(f"not run, this CPU lacks it: the native engine with {name}")
