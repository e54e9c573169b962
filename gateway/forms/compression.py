"""Request bodies under a Content-Encoding: gzip is undone within a limit, any other coding refused."""

import zlib
from collections.abc import Callable

from utils.errors import MalformedRequest, PayloadTooLarge, UnsupportedContentEncoding, shown

ACCEPTED = "gzip, identity"
"""The value of Accept-Encoding in the answer to a coding that is not accepted."""

_GZIP = 16 + zlib.MAX_WBITS
_PIECE = 16 * 1024
_MOST_MEMBERS = 8192
"""A decoder for each costs far more than its twenty bytes; block-wise gzip makes one for 64 KiB."""


def is_gzip(content_encoding: str | None) -> bool:
    """Whether a body is compressed, by its Content-Encoding.

    Raises:
        UnsupportedContentEncoding: It is coded in another way, or more than once.
    """
    codings = [coding.strip().lower() for coding in (content_encoding or "").split(",")]
    applied = [coding for coding in codings if coding not in {"", "identity"}]
    if not applied:
        return False
    if len(applied) == 1 and applied[0] in {"gzip", "x-gzip"}:
        return True
    raise UnsupportedContentEncoding(
        f"Content-Encoding is {shown(', '.join(applied))!r}; accepted: gzip, once, or none",
        field="Content-Encoding",
    )


def gunzip(body: bytes, limit: int, too_large: Callable[[str], PayloadTooLarge]) -> bytes:
    """The content of a gzip body of one or several members; no more than `limit` + 1 bytes are made.

    Raises:
        PayloadTooLarge: It has more than `limit` bytes: what `too_large` makes of their number, in words.
        MalformedRequest: It is damaged, cut off or has too many members.
    """
    pieces: list[bytes] = []
    room = limit + 1
    decoder, members = zlib.decompressobj(_GZIP), 1
    try:
        for start in range(0, len(body), _PIECE):
            rest = body[start : start + _PIECE]
            while rest:
                if decoder.eof:
                    decoder, members = zlib.decompressobj(_GZIP), members + 1
                    if members > _MOST_MEMBERS:
                        raise _damaged(f"has more than {_MOST_MEMBERS} members")
                pieces.append(decoder.decompress(rest, room))
                room -= len(pieces[-1])
                if room == 0:
                    raise too_large(f"more than {limit}")
                rest = decoder.unused_data
    except zlib.error as error:
        raise _damaged(f"is no gzip or is damaged: {error}") from error
    if not decoder.eof:
        raise _damaged("ends amid its gzip stream")
    return b"".join(pieces)


def _damaged(what: str) -> MalformedRequest:
    return MalformedRequest(f"Content-Encoding is gzip, but the body {what}.", field="Content-Encoding")
