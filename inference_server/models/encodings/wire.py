"""Fields of a serialized message of protobuf, found without copying those that are large."""

from collections.abc import Container, Iterable

from utils.errors import MalformedRequest

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10
_LARGEST_NUMBER = 2**29 - 1
"""That a field may have."""
_MOST_FIELDS = 10_000
"""Of a message; each is looked at by Python code."""


def take(
    message: bytes | memoryview, kept: Container[int], apart: Iterable[int] = ()
) -> tuple[bytes, dict[int, list[memoryview]]]:
    """Part a message.

    Args:
        message: Serialized.
        kept: Numbers of the fields of the first part.
        apart: Numbers of fields of bytes or messages.

    Returns:
        The message with the fields that are kept alone; and for each number that is apart the contents of its
        fields, within the message.

    Raises:
        MalformedRequest: It is no message, or has more than 10,000 fields.
    """
    view, place, fields = memoryview(message), 0, 0
    head: list[memoryview] = []
    contents: dict[int, list[memoryview]] = {number: [] for number in apart}
    while place < len(view):
        begin = place
        tag, place = _varint(view, place)
        number, kind = tag >> 3, tag & 7
        start = place
        if kind == _VARINT:
            _, place = _varint(view, place)
        elif kind == _LENGTH:
            length, start = _varint(view, place)
            place = start + length
        elif kind in _SIZES:
            place += _SIZES[kind]
        else:
            raise _malformed()
        fields += 1
        if place > len(view) or not 0 < number <= _LARGEST_NUMBER or fields > _MOST_FIELDS:
            raise _malformed()
        if number in kept:
            head.append(view[begin:place])
        elif number in contents and kind == _LENGTH:
            contents[number].append(view[start:place])
    return b"".join(head), contents


def prefix(number: int, length: int) -> bytes:
    """What stands before the content of a field of bytes."""
    return _as_varint(number << 3 | _LENGTH) + _as_varint(length)


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = 0
    for shift, byte in enumerate(message[place : place + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follow
            return value, place + shift + 1
    raise _malformed()


def _as_varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:  # noqa: PLR2004
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def _malformed() -> MalformedRequest:
    return MalformedRequest(
        f"The bytes are no message of protobuf, or one of more than {_MOST_FIELDS} fields."
    )
