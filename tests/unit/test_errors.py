"""Rules of the error tree."""

import subprocess
import sys

import pytest
from google.rpc import code_pb2

from tests.support.processes import ROOT
from utils.errors import (
    Code,
    FacetError,
    InternalError,
    Overloaded,
    error_class,
    error_classes,
    without_folders,
)

# The error table of docs/errors.md: reason -> canonical code, HTTP status.
TABLE = {
    "MALFORMED_REQUEST": (Code.INVALID_ARGUMENT, 400),
    "IMAGE_MISSING": (Code.INVALID_ARGUMENT, 400),
    "IMAGE_EMPTY": (Code.INVALID_ARGUMENT, 400),
    "INVALID_BASE64": (Code.INVALID_ARGUMENT, 400),
    "INVALID_HEADER": (Code.INVALID_ARGUMENT, 400),
    "PARAMETER_MISSING": (Code.INVALID_ARGUMENT, 400),
    "UNKNOWN_OPTION": (Code.INVALID_ARGUMENT, 400),
    "OPTION_OUT_OF_RANGE": (Code.INVALID_ARGUMENT, 400),
    "UNSUPPORTED_CONTENT_TYPE": (Code.INVALID_ARGUMENT, 415),
    "UNSUPPORTED_CONTENT_ENCODING": (Code.INVALID_ARGUMENT, 415),
    "UNSUPPORTED_IMAGE_FORMAT": (Code.INVALID_ARGUMENT, 415),
    "BROKEN_IMAGE": (Code.INVALID_ARGUMENT, 422),
    "INVALID_INPUT": (Code.INVALID_ARGUMENT, 422),
    "BODY_TOO_SLOW": (Code.INVALID_ARGUMENT, 408),
    "HEAD_TOO_SLOW": (Code.INVALID_ARGUMENT, 408),
    "HEAD_TOO_LARGE": (Code.INVALID_ARGUMENT, 431),
    "REQUEST_LINE_TOO_LONG": (Code.INVALID_ARGUMENT, 414),
    "UNSUPPORTED_TRANSFER_CODING": (Code.INVALID_ARGUMENT, 501),
    "UNSUPPORTED_HTTP_VERSION": (Code.INVALID_ARGUMENT, 505),
    "IMAGE_TOO_LARGE": (Code.INVALID_ARGUMENT, 413),
    "TOO_MANY_PIXELS": (Code.INVALID_ARGUMENT, 413),
    "PYRAMID_TOO_LARGE": (Code.INVALID_ARGUMENT, 413),
    "TOO_MANY_CANDIDATES": (Code.INVALID_ARGUMENT, 413),
    "BODY_TOO_LARGE": (Code.INVALID_ARGUMENT, 413),
    "BATCH_ANSWER_TOO_LARGE": (Code.INVALID_ARGUMENT, 413),
    "MESSAGE_TOO_LARGE": (Code.RESOURCE_EXHAUSTED, 413),
    "ROUTE_NOT_FOUND": (Code.UNIMPLEMENTED, 404),
    "EXTRAS_NOT_ANSWERED": (Code.UNIMPLEMENTED, 501),
    "METHOD_NOT_ALLOWED": (Code.UNIMPLEMENTED, 405),
    "TOKEN_REFUSED": (Code.PERMISSION_DENIED, 403),
    "KEY_MISSING": (Code.UNAUTHENTICATED, 401),
    "KEY_UNKNOWN": (Code.UNAUTHENTICATED, 401),
    "KEY_LACKS_SCOPE": (Code.PERMISSION_DENIED, 403),
    "KEYS_UNAVAILABLE": (Code.UNAVAILABLE, 503),
    "RATE_LIMITED": (Code.RESOURCE_EXHAUSTED, 429),
    "REQUEST_REFUSED": (Code.PERMISSION_DENIED, 403),
    "QUEUE_FULL": (Code.RESOURCE_EXHAUSTED, 429),
    "TOO_MANY_UNFINISHED_MESSAGES": (Code.RESOURCE_EXHAUSTED, 429),
    "GATEWAY_BUSY": (Code.RESOURCE_EXHAUSTED, 429),
    "TOO_MANY_MODELS": (Code.RESOURCE_EXHAUSTED, 429),
    "TOO_MANY_CHANGES": (Code.RESOURCE_EXHAUSTED, 429),
    "MODEL_NOT_FOUND": (Code.NOT_FOUND, 404),
    "MODEL_NOT_READY": (Code.UNAVAILABLE, 503),
    "MODEL_FAILED": (Code.INTERNAL, 500),
    "ANSWER_TOO_LARGE": (Code.INTERNAL, 500),
    "INVALID_MODEL": (Code.INVALID_ARGUMENT, 400),
    "MODEL_EXISTS": (Code.ALREADY_EXISTS, 409),
    "MODEL_CONFLICT": (Code.FAILED_PRECONDITION, 409),
    "MODEL_LOAD_FAILED": (Code.INTERNAL, 500),
    "MODEL_API_DISABLED": (Code.PERMISSION_DENIED, 403),
    "STATE_NOT_WRITABLE": (Code.FAILED_PRECONDITION, 409),
    "BACKEND_UNAVAILABLE": (Code.UNAVAILABLE, 503),
    "GATEWAY_STOPPING": (Code.UNAVAILABLE, 503),
    "DEADLINE_EXCEEDED": (Code.DEADLINE_EXCEEDED, 504),
    "CANCELLED": (Code.CANCELLED, 499),
    "WORKER_CRASHED": (Code.INTERNAL, 500),
    "INTERNAL": (Code.INTERNAL, 500),
}


def test_every_error_has_a_row_in_the_table() -> None:
    """A class without a row, or a row without a class, is a mistake."""
    assert {kind.reason: (kind.code, kind.http_status) for kind in error_classes()} == TABLE


def test_every_error_has_a_row_in_the_documentation() -> None:
    """With its codes, and whether trying again may help."""
    page = (ROOT / "docs" / "errors.md").read_text()
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert set(rows) == set(TABLE)
    for reason, (code, http_status) in TABLE.items():
        assert f"| {code.name} | {http_status} |" in rows[reason]
        assert ("after the delay" in rows[reason]) == (http_status in {429, 503, 504})


def test_every_error_is_found_by_its_reason_and_has_a_title() -> None:
    """The reason is what travels; each class is found by its own."""
    for kind in error_classes():
        assert error_class(kind.reason) is kind
        assert kind.title
        assert kind.__doc__
    assert error_class("NO_SUCH_REASON") is None


def test_only_errors_that_pass_by_themselves_are_overload() -> None:
    """RESOURCE_EXHAUSTED with 429 says try later; with 413 it says never."""
    for kind in error_classes():
        assert issubclass(kind, Overloaded) == (kind.http_status == 429)


def test_the_codes_have_googles_numbers() -> None:
    """So that one number serves google.rpc.Status and gRPC alike."""
    assert {code.name: code.value for code in Code} == dict(code_pb2.Code.items())


def test_an_internal_error_tells_the_caller_nothing() -> None:
    """Its message is fixed; the log has the rest."""
    assert InternalError().detail == InternalError.message


@pytest.mark.security(
    endpoint="files",
    attack="Errors of libraries and of the system that have paths",
    outcome="Callers are told the names of files, and no folder",
)
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("No such file: '/srv/some user/secret place/weights.bin'", "No such file: 'weights.bin'"),
        (
            "Load from /srv/store/1.0/a.onnx failed:\n no graph",
            "Load from a.onnx failed: no graph",
        ),
        ("1/2 of https://example.org/a/b and a/b/c", "1/2 of https://example.org/a/b and a/b/c"),
        ("/etc/passwd,/a/b", "passwd,b"),
    ],
)
def test_no_caller_is_told_the_folders_of_a_path(text: str, told: str) -> None:
    """In whatever text of somebody else's it stands."""
    assert without_folders(text) == told


def test_two_errors_cannot_share_a_reason() -> None:
    """A reason that meant two things would mean nothing."""
    with pytest.raises(TypeError, match="INTERNAL"):
        type("Again", (FacetError,), {"reason": "INTERNAL"})


def test_errors_and_settings_import_the_standard_library_alone() -> None:
    """The supervisor uses them, and must load neither gRPC nor NumPy."""
    program = (
        "import sys, utils.errors, utils.settings, utils.logs;"
        "print(sorted(m for m in ('grpc', 'google', 'numpy', 'PIL', 'flask') if m in sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"


@pytest.mark.parametrize("letter", ["a", "é", "\N{GRINNING FACE}", "\ud800"])
def test_a_detail_fits_what_gRPC_carries_it_in(letter: str) -> None:  # noqa: N802
    """However long the name is that it repeats; one sentence is not cut."""
    assert len(InternalError(letter * 100_000).detail.encode()) <= 1004
    assert InternalError("A sentence.").detail == "A sentence."
