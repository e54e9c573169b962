"""Request bodies under a Content-Encoding: gzip and deflate are undone within a limit, others refused."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from utils.errors import MalformedRequest, PayloadTooLarge, UnsupportedContentEncoding, shown


@dataclass(frozen=True, slots=True)
class Coding:
    """How a body is compressed.

    Attributes:
        name: As in Content-Encoding.
        window_bits: What zlib calls its form.
        members: How many streams it may consist of, one after the other.
    """

    name: str
    window_bits: int
    members: int


_MOST_MEMBERS = 8192
"""A decoder for each costs far more than its twenty bytes; block-wise gzip makes one for 64 KiB."""
_GZIP = Coding("gzip", 16 + zlib.MAX_WBITS, _MOST_MEMBERS)
_DEFLATE = Coding("deflate", zlib.MAX_WBITS, 1)
"""A stream of zlib, as HTTP has it (RFC 9110, 8.4.1.2)."""
_CODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _DEFLATE}

_PIECE = 16 * 1024


def coding_of(content_encoding: str | None) -> Coding | None:
    """How a body is compressed, by its Content-Encoding; None where it is not.

    Raises:
        UnsupportedContentEncoding: It is coded in another way, or more than once.
    """
    applied = _applied(content_encoding)
    if not applied:
        return None
    if len(applied) == 1 and applied[0] in _CODINGS:
        return _CODINGS[applied[0]]
    raise _refused(applied, "gzip or deflate, once, or none")


def require_identity(content_encoding: str | None) -> None:
    """Refuse a body that is compressed, where none such is taken.

    Raises:
        UnsupportedContentEncoding: It is.
    """
    if applied := _applied(content_encoding):
        refused = _refused(applied, "none here")
        refused.accepted = "identity"
        raise refused


def _applied(content_encoding: str | None) -> list[str]:
    codings = [coding.strip().lower() for coding in (content_encoding or "").split(",")]
    return [coding for coding in codings if coding not in {"", "identity"}]


def _refused(applied: list[str], accepted: str) -> UnsupportedContentEncoding:
    return UnsupportedContentEncoding(
        f"Content-Encoding is {shown(', '.join(applied))!r}; accepted: {accepted}", field="Content-Encoding"
    )


def uncompress(body: bytes, coding: Coding, limit: int, too_large: Callable[[str], PayloadTooLarge]) -> bytes:
    """The content of a compressed body; no more than `limit` + 1 bytes are made.

    Raises:
        PayloadTooLarge: It has more than `limit` bytes: what `too_large` makes of their number, in words.
        MalformedRequest: It is damaged, cut off or has too many streams.
    """
    pieces: list[bytes] = []
    room = limit + 1
    decoder, members = zlib.decompressobj(coding.window_bits), 1
    try:
        for start in range(0, len(body), _PIECE):
            rest = body[start : start + _PIECE]
            while rest:
                if decoder.eof:
                    decoder, members = zlib.decompressobj(coding.window_bits), members + 1
                    if members > coding.members:
                        raise _damaged(coding, f"has more streams than are accepted: {coding.members}")
                pieces.append(decoder.decompress(rest, room))
                room -= len(pieces[-1])
                if room == 0:
                    raise too_large(f"more than {limit}")
                rest = decoder.unused_data
    except zlib.error as error:
        raise _damaged(coding, f"is no {coding.name} or is damaged: {error}") from error
    if not decoder.eof:
        raise _damaged(coding, f"ends amid its {coding.name} stream")
    return b"".join(pieces)


def _damaged(coding: Coding, what: str) -> MalformedRequest:
    return MalformedRequest(
        f"Content-Encoding is {coding.name}, but the body {what}.", field="Content-Encoding"
    )
