"""The soak in short: each event once, under load of real pictures. `make soak` is the long form."""

from pathlib import Path

from tests.soak.run import soak


def test_nothing_that_happens_costs_a_request_or_leaves_a_trace(tmp_path: Path) -> None:
    """Through every endpoint, every answer compared; the table is printed where it fails."""
    report, faults = soak(tmp_path, 0, calm=90, say=print)
    print(report.table(), report.memory(), sep="\n")  # noqa: T201 - the report is the test's output
    assert faults == []
