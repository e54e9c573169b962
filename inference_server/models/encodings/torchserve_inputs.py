"""What TorchServe's clients send, as bytes by keys. No model is known here, and no schema."""

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

from google.protobuf.message import DecodeError

from inference_server.models.encodings.wire import take
from inference_server.models.multipart import parse_multipart
from protos.torchserve import message_class
from utils.errors import InvalidInput, MalformedRequest, shown

FILE_KEYS = ("data", "body")
"""Under which a file comes that is all of the input: by gRPC and forms, and as the body of a request."""

_FORM, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
_MOST_FIELDS = 1000


def of_message(payload: bytes) -> dict[str, bytes]:
    """The input of a serialized PredictionsRequest.

    Raises:
        MalformedRequest: It is none, or has more fields than `take` accepts.
    """
    take(payload, ())  # a key of the input takes many times the memory of its bytes
    try:
        return dict(message_class("inference", "PredictionsRequest").FromString(payload).input)
    except DecodeError as error:
        raise MalformedRequest("The bytes are no message PredictionsRequest of protobuf.") from error


def of_body(payload: bytes, content_type: str) -> dict[str, bytes]:
    """The input of the body of an HTTP request: the fields of a form, or all of it under `body`.

    Raises:
        MalformedRequest: The form cannot be taken apart.
        InvalidInput: A field came twice.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == _MULTIPART:
        parts = parse_multipart(payload, content_type)
        return _once([(name, content) for name, contents in parts.items() for content in contents])
    if kind == _FORM:
        text = payload.decode("latin-1")  # by which each byte is a character, and stays one
        try:
            pairs = parse_qsl(text, keep_blank_values=True, encoding="latin-1", max_num_fields=_MOST_FIELDS)
        except ValueError as error:
            raise MalformedRequest(f"The form has more than {_MOST_FIELDS} fields.") from error
        fields = [(name.encode("latin-1"), content.encode("latin-1")) for name, content in pairs]
        return _once([(name.decode(errors="replace"), content) for name, content in fields])
    return {"body": payload}


def with_file(values: Mapping[str, bytes], member: str, members: Collection[str]) -> dict[str, bytes]:
    """The same input, where one file has another key than its member is called.

    Args:
        values: The input.
        member: That takes the file.
        members: All there are; a key that one of them has is that one's.

    Raises:
        InvalidInput: There is no file.
    """
    for key in FILE_KEYS:
        if key in values and key not in members and member not in values:
            return {member if name == key else name: content for name, content in values.items()}
    if member not in values:
        keys = dict.fromkeys((*FILE_KEYS, member))
        raise InvalidInput(
            f"The input has none of the keys {', '.join(keys)}; it must have one", field=member
        )
    return dict(values)


def check_keys(values: Mapping[str, bytes], members: Collection[str]) -> None:
    """Refuse keys that are no members.

    Raises:
        InvalidInput: Names the first.
    """
    for key in values:
        if key not in members:
            raise InvalidInput(
                f"{shown(key)} is no member of the input; accepted: {', '.join(members)}", field=shown(key)
            )


def _once(fields: list[tuple[str, bytes]]) -> dict[str, bytes]:
    values: dict[str, bytes] = {}
    for name, content in fields:
        if name in values:
            raise InvalidInput(f"{shown(name)} came more than once; accepted: once", field=shown(name))
        values[name] = content
    return values
