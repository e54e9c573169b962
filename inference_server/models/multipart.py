"""The parts of a multipart form."""

from utils.errors import MalformedRequest, shown

_MAX_PARTS = 1000


def parse_multipart(body: bytes, content_type: str) -> dict[str, list[bytes]]:
    """The contents of the parts, by their names, in their order; what a file is called is not looked at.

    Args:
        body: The form.
        content_type: Of the form, with its boundary.

    Raises:
        MalformedRequest: It cannot be taken apart, or has too many parts.
    """
    # Loaded by the first form: it takes memory that a model which gets none has better use for.
    from werkzeug.exceptions import RequestEntityTooLarge  # noqa: PLC0415
    from werkzeug.http import parse_options_header  # noqa: PLC0415
    from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder  # noqa: PLC0415

    kind, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if kind.lower() != "multipart/form-data" or not boundary or not boundary.isascii():
        raise MalformedRequest(
            f"The content type is {shown(content_type)!r}; accepted: multipart/form-data with a boundary",
            field="Content-Type",
        )
    decoder = MultipartDecoder(boundary.encode(), max_parts=_MAX_PARTS)
    parts: dict[str, list[bytes]] = {}
    pieces: list[bytes] = []
    name = ""
    try:
        decoder.receive_data(body)
        decoder.receive_data(None)
        while not isinstance(event := decoder.next_event(), Epilogue):
            if isinstance(event, Field | File):
                name, pieces = event.name or "", []
            elif isinstance(event, Data):
                pieces.append(event.data)
                if not event.more_data:
                    parts.setdefault(name, []).append(b"".join(pieces))
    except (ValueError, RequestEntityTooLarge) as error:
        raise MalformedRequest(
            f"The multipart body is broken, or has more than {_MAX_PARTS} parts."
        ) from error
    return parts
