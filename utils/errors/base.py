"""What all errors have, and how a detail is kept short and without paths."""

import re
from enum import IntEnum
from typing import ClassVar


class Code(IntEnum):
    """The canonical codes, with the numbers of google/rpc/code.proto, which are also gRPC's."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


SHOWN_CHARACTERS = 40


MORE_TIME_HELPS = (
    "What helps: more time (X-Request-Timeout, the gRPC deadline, the client's timeout), or a smaller "
    "request."
)
"""The end of a DeadlineExceeded's detail, wherever a request took longer than it was given."""

LARGER_FACES_HELP = "A search for faces takes less time with a larger min_face_size."
"""What to add where the request was one for faces."""


def shown(text: str) -> str:
    """As much of a caller's own text as an error repeats."""
    return text[:SHOWN_CHARACTERS]


_LONGEST_DETAIL = 1000
"""Bytes of a detail. gRPC carries it thrice, each byte as up to three, in metadata that may have 8 KiB."""


def _within_limit(detail: str) -> str:
    encoded = detail.encode(errors="replace")
    if len(encoded) <= _LONGEST_DETAIL:
        return detail
    return encoded[:_LONGEST_DETAIL].decode(errors="ignore") + " ..."


_FOLDERS = re.compile(r"(?<=['\"])/(?:[^'\"/]+/)+|(?<![\w.:/])/(?:[^\s/'\":,]+/)+")


def without_folders(text: str) -> str:
    """A text of somebody else's without the folders of the absolute paths in it, on one line.

    A path that has a space is known where it stands in quotes, as in the system's own errors.
    """
    return _FOLDERS.sub("", " ".join(text.split()))


_BY_REASON: dict[str, type["FacetError"]] = {}


class FacetError(Exception):
    """A failure with a canonical code, an HTTP status and a stable reason.

    Args:
        detail: One sentence for the caller: what came, what is accepted. A very long one is cut.
        field: The member of the request that is at fault, if one is.
        retry_after: Seconds after which the same request may succeed, if it may.

    Attributes:
        cause: What others said of it, who are none of ours: gRPC itself, a proxy. For the log; no caller
            is told. Empty where nobody did.
    """

    code: ClassVar[Code]
    http_status: ClassVar[int]
    reason: ClassVar[str]
    title: ClassVar[str]
    cause: str = ""

    def __init__(self, detail: str, *, field: str | None = None, retry_after: float | None = None) -> None:
        self.detail = _within_limit(detail)
        super().__init__(self.detail)
        self.field = field
        self.retry_after = retry_after

    def __init_subclass__(cls) -> None:
        """Register a class that can be raised, by its reason."""
        if "reason" in cls.__dict__:
            if cls.reason in _BY_REASON:
                raise TypeError(f"two errors share the reason {cls.reason}")
            _BY_REASON[cls.reason] = cls


def error_classes() -> tuple[type[FacetError], ...]:
    """Every class that can be raised: the rows of the error table."""
    return tuple(_BY_REASON.values())


def error_class(reason: str) -> type[FacetError] | None:
    """The class whose reason this is, or None where no release of ours has used it."""
    return _BY_REASON.get(reason)
