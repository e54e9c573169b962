"""The body of a request, read within its limits."""

from typing import IO

from gunicorn.http.errors import NoMoreData, ParseException

from gateway.forms.inputs import InputForm
from utils.errors import BodyTooSlow, Cancelled, MalformedRequest

_PIECE = 1024**2


def read_body(stream: IO[bytes], length: int | None, form: InputForm) -> bytes:
    """Read a body of a known or unknown length.

    Args:
        stream: Where it comes from. Its own time limit ends it with a TimeoutError.
        length: Its Content-Length; None where it comes in chunks.
        form: Says how long it may be.

    Raises:
        PayloadTooLarge: It is longer than its form's limit; a known length is refused unread.
        BodyTooSlow: It did not arrive in time.
        MalformedRequest: Its chunks cannot be told apart.
        Cancelled: The caller left before its end.
    """
    if length is not None and length > form.limit:
        raise form.too_large(str(length))
    try:
        body = _read(stream, form.limit + 1 if length is None else length)
    except TimeoutError as error:
        raise BodyTooSlow("The body of the request did not arrive within its time.") from error
    except ParseException as error:
        raise MalformedRequest(f"The chunks of the body cannot be read: {error}") from error
    except (ConnectionError, NoMoreData) as error:
        raise Cancelled("The caller left while sending the body.") from error
    if len(body) > form.limit:
        raise form.too_large(f"more than {form.limit}")
    if length is not None and len(body) < length:
        raise Cancelled("The caller left while sending the body.")
    return body


def _read(stream: IO[bytes], wanted: int) -> bytes:
    pieces = []
    while wanted > 0 and (piece := stream.read(min(wanted, _PIECE))):
        pieces.append(piece)
        wanted -= len(piece)
    return b"".join(pieces)
