"""The head of a request: how much of it is accepted, and what of it leaves doubts."""

import re

from utils import errors

SECONDS = 5.0
"""From the first byte of a head to its last."""
MAX_BYTES = 64 * 1024
MAX_LINE_BYTES = 4094
MAX_FIELDS = 100
MAX_FIELD_BYTES = 8188
"""Line ends are not counted."""

_AUTHORITY = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)

Headers = list[tuple[bytes, bytes]]
"""Names in lower case, and values."""


class HeadSize:
    """Counts the bytes of a head; each method raises a FacetError where they are too many."""

    def __init__(self) -> None:
        self.bytes = self._unseen = 0

    def add(self, count: int) -> None:
        """Count bytes of any part."""
        self.bytes, self._unseen = self.bytes + count, 0
        if self.bytes > MAX_BYTES:
            raise errors.HeadTooLarge(f"The head is longer than is accepted; accepted: {MAX_BYTES} bytes")

    def add_unseen(self, count: int) -> None:
        """Count bytes of a part that has not ended."""
        self._unseen += count
        if self.bytes + self._unseen > MAX_BYTES + MAX_FIELD_BYTES:
            raise errors.HeadTooLarge(f"The head is longer than is accepted; accepted: {MAX_BYTES} bytes")

    def add_target(self, method: bytes, target: bytes, count: int) -> None:
        """Count bytes of a target that is `target` so far."""
        line = len(method) + len(target) + len("  HTTP/1.1")
        if line > MAX_LINE_BYTES:
            raise errors.RequestLineTooLong(
                f"The request line has {line} bytes or more; accepted: {MAX_LINE_BYTES} bytes"
            )
        self.add(count)

    def add_field(self, name: bytes, value: bytes, number: int) -> None:
        """Count a field, the `number`th."""
        size = len(name) + len(": ") + len(value)
        self.add(size)
        if number > MAX_FIELDS or size > MAX_FIELD_BYTES:
            raise errors.HeadTooLarge(
                "The head has more fields than are accepted, or a longer one; accepted: "
                f"{MAX_FIELDS} fields of {MAX_FIELD_BYTES} bytes each"
            )


def origin_form(target: bytes) -> bytes:
    """A target without scheme and host, which clients write for proxies."""
    authority = _AUTHORITY.match(target)
    return b"/" + target[authority.end() :].removeprefix(b"/") if authority else target


def check_head(method: bytes, version: str, headers: Headers) -> None:
    """Refuse a head that servers are known to understand in different ways, with its version such as `1.1`.

    Raises:
        FacetError: It is not accepted.
    """
    if method == b"CONNECT":
        raise errors.MalformedRequest("CONNECT is a proxy's method.")
    if version not in {"1.0", "1.1"}:
        raise errors.UnsupportedHttpVersion(f"The request is of HTTP/{version}; accepted: HTTP/1.0 and 1.1")
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise errors.MalformedRequest(f"The head has {hosts} Host fields; accepted: one")
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and (codings != [b"chunked"] or version == "1.0"):
        raise errors.UnsupportedTransferCoding(
            "The body is in another transfer coding; accepted: chunked, in HTTP/1.1"
        )
