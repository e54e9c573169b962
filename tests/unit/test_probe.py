"""Rules of the health check of a container."""

import pytest

from tests.support.facet import free_port
from utils.probe import main


@pytest.mark.parametrize("arguments", [[], ["gateway"]])
def test_nobody_there_is_a_failure_with_one_line(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever of the two is asked."""
    for name in ("FACET_GRPC_ADDRESS", "FACET_HTTP_ADDRESS"):
        monkeypatch.setenv(name, f"127.0.0.1:{free_port()}")
    assert main(arguments) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["gatway"], ["gateway", "backend"]])
def test_what_cannot_be_asked_is_answered_with_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip of the pen must not check something else."""
    assert main(arguments) == 2
    assert "usage" in capsys.readouterr().err
