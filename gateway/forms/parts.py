"""The parts of a multipart body, one after the other as it arrives: none of them need be held as a whole."""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

from werkzeug.http import parse_options_header

from utils.errors import MalformedRequest

_LONGEST_HEAD = 16 * 1024
"""Bytes from a part's boundary to its content."""

# RFC 2046 has CR LF alone; some clients, and people who write a form by hand, end lines by one of the two.
_AFTER_BOUNDARY = re.compile(rb"(--)|[ \t]*(?=\r|\n)")
_UNDECIDED = re.compile(rb"-?|[ \t]*")
"""What is behind a boundary, or what only looks like one, where the next piece will tell."""
_EMPTY_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DISPOSITION = re.compile(rb"^content-disposition[ \t]*:(.*)", re.IGNORECASE | re.DOTALL)
_CONTINUED = re.compile(rb"(?:\r\n|\r|\n)[ \t]")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a body.

    Attributes:
        name: Of the field, empty where it has none.
        file_name: Of the file that it is; None where it is text.
        content: Its bytes in any number of pieces, to be taken before the next part.
    """

    name: str
    file_name: str | None
    content: Iterator[bytes]


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names.

    Raises:
        MalformedRequest: It names none.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary.isascii() or not boundary:
        raise MalformedRequest("The Content-Type names no boundary.", field="Content-Type")
    return boundary.encode()


def read_parts(pieces: Iterator[bytes], boundary: bytes, most: int) -> Iterator[Part]:
    """The parts of a body that comes in pieces; what is behind the last boundary is not taken.

    Raises:
        MalformedRequest: They cannot be told apart, or are more than `most`.
    """
    scanner = _Scanner(pieces, b"--" + boundary)
    _pass_over(scanner.content(preamble=True))
    for number in count(1):
        if scanner.ended:
            return
        if number > most:
            raise MalformedRequest(f"The multipart body has more than {most} parts.")
        disposition = _disposition(scanner.head(number), number)
        content = scanner.content()
        yield Part(disposition.get("name", ""), disposition.get("filename"), content)
        _pass_over(content)


def _pass_over(content: Iterator[bytes]) -> None:
    deque(content, maxlen=0)


class _Scanner:
    """Looks for boundaries; what is before the place that it has come to is forgotten.

    Attributes:
        ended: Whether the boundary that was found last is the last one.
    """

    def __init__(self, pieces: Iterator[bytes], mark: bytes) -> None:
        self._pieces, self._mark = pieces, mark
        self._data, self._at = b"", 0
        self.ended = False

    def head(self, number: int) -> bytes:
        """The head of a part, which is behind its boundary."""
        while (end := _EMPTY_LINE.search(self._data, self._at, self._at + _LONGEST_HEAD)) is None:
            if len(self._data) - self._at >= _LONGEST_HEAD or not self._take_piece():
                raise MalformedRequest(
                    f"The head of part {number} of the multipart body has no end; accepted: "
                    f"{_LONGEST_HEAD} bytes, then an empty line"
                )
        head = self._data[self._at : end.start()]
        self._at = end.end()
        return head

    def content(self, *, preamble: bool = False) -> Iterator[bytes]:
        """What is before the next boundary, piece by piece; the boundary is passed over.

        Args:
            preamble: Whether it is what comes before the first part, which need not end with a line.
        """
        mark, search, begins_line = self._mark, self._at, True
        while True:
            at = self._data.find(mark, search)
            if at < 0 or self._is_undecided(at + len(mark)):
                # The line end before a boundary is none of the content's.
                end = len(self._data) - len(mark) - 1 if at < 0 else at - 2
                if end > self._at:
                    yield self._data[self._at : end]
                    self._at, begins_line = end, False
                if not self._take_piece():
                    raise MalformedRequest("The multipart body ends before its last boundary.")
                search = 0
                continue
            before = self._data[max(at - 2, self._at) : at]
            after = _AFTER_BOUNDARY.match(self._data, at + len(mark))
            is_at_start = begins_line and not before
            if after is not None and (preamble or is_at_start or before.endswith((b"\r", b"\n"))):
                break
            search = at + len(mark)
        line_end = 2 if before == b"\r\n" else len(before[-1:])
        if content := self._data[self._at : at - line_end]:
            yield content
        self._at, self.ended = after.end(), after[1] is not None

    def _is_undecided(self, behind: int) -> bool:
        rest = len(self._data) - behind
        return rest < _LONGEST_HEAD and _UNDECIDED.fullmatch(self._data, behind) is not None

    def _take_piece(self) -> bool:
        """Take another piece behind what is still to be looked at; gives whether there was one."""
        piece = next(self._pieces, b"")
        self._data, self._at = self._data[self._at :] + piece, 0
        return bool(piece)


def _disposition(head: bytes, number: int) -> Mapping[str, str]:
    """The parameters of a part's Content-Disposition; old clients write a file name in Latin-1."""
    for line in _CONTINUED.sub(b" ", head).splitlines():
        if match := _DISPOSITION.match(line):
            try:
                text = match[1].decode()
            except UnicodeDecodeError:
                text = match[1].decode("latin-1")
            return parse_options_header(text.strip())[1]
    raise MalformedRequest(f"Part {number} of the multipart body has no Content-Disposition.")
