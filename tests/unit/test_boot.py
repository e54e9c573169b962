"""Rules of what a worker reports when it cannot boot."""

import contextlib

import pytest

from inference_server.boot import EXIT_BOOT_FAILURE, fail
from inference_server.detector.choice import EngineUnavailable
from inference_server.detector.factory import SelfTestFailed
from inference_server.detector.weights import WeightsError
from inference_server.dispatch.shared import LayoutMismatch
from inference_server.models.face_detection import FaceDetection
from inference_server.supervision.control import BootFailed, control_pair
from utils.errors import InvalidModel


@pytest.mark.parametrize(
    ("error", "reason", "permanent"),
    [
        (EngineUnavailable("no such engine"), "no such engine", True),
        (WeightsError("no weights"), "no weights", True),
        (LayoutMismatch("layout 3"), "layout 3", True),
        (SelfTestFailed("no face"), "no face", True),
        (MemoryError(), "MemoryError:", False),
        (OSError(24, "Too many open files"), "OSError: [Errno 24] Too many open files", False),
        (RuntimeError("two\nlines"), "RuntimeError: two lines", False),
    ],
)
def test_only_what_no_other_worker_would_escape_is_permanent(
    error: Exception, reason: str, permanent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The supervisor is told so in one line, and the log, too."""
    ours, theirs = control_pair()
    with contextlib.closing(ours), contextlib.closing(theirs):
        with pytest.raises(SystemExit) as caught:
            fail(theirs, error, FaceDetection.permanent_errors)
        assert caught.value.code == EXIT_BOOT_FAILURE
        assert ours.receive() == BootFailed(reason, permanent)
    assert caplog.messages == ["the worker cannot start"]


def test_a_model_that_is_none_is_reported_with_the_member_at_fault() -> None:
    """Whoever wants to serve it has to change it."""
    ours, theirs = control_pair()
    with contextlib.closing(ours), contextlib.closing(theirs):
        with pytest.raises(SystemExit):
            fail(theirs, InvalidModel("no such file", field="file"), (InvalidModel,))
        assert ours.receive() == BootFailed("no such file", permanent=True, invalid=True, field="file")
