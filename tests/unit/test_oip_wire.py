"""Fields of a serialized message are found without parsing it."""

from typing import Any

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from inference_server.models.encodings.wire import prefix, take
from protos.oip import message_class
from utils.errors import MalformedRequest

_REQUEST = message_class("ModelInferRequest")


def test_the_protocols_messages_are_in_no_pool_that_other_code_uses() -> None:
    """So that stubs of the same package can be in the process, too."""
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("inference.ModelInferRequest")


@given(
    st.fixed_dictionaries({"model_name": st.text(), "id": st.text(max_size=300)}),
    st.lists(st.binary(max_size=300)),
    st.lists(st.text()),
)
def test_the_parts_of_a_message_are_what_protobuf_reads(
    values: dict[str, str], raws: list[bytes], outputs: list[str]
) -> None:
    """In whichever order the fields come."""
    whole = _REQUEST(raw_input_contents=raws, outputs=[{"name": name} for name in outputs], **values)
    named = _REQUEST(**values)
    for content in (
        whole.SerializeToString(),
        _REQUEST(raw_input_contents=raws).SerializeToString() + _other(whole).SerializeToString(),
    ):
        head, parts = take(content, (1, 3), (7,))
        assert _REQUEST.FromString(head) == named
        assert [bytes(one) for one in parts[7]] == raws


def _other(whole: Any) -> Any:  # noqa: ANN401
    """A message without its raw contents."""
    made = _REQUEST()
    made.CopyFrom(whole)
    made.ClearField("raw_input_contents")
    return made


@pytest.mark.security(
    endpoint="oip",
    attack="Bytes that two readers of protobuf could read differently",
    outcome="Refused, or read as protobuf reads them",
)
@given(st.binary(max_size=64))
def test_no_bytes_are_read_as_another_message_than_protobuf_reads(content: bytes) -> None:
    """One of the two refuses them, or they are the same."""
    try:
        head, parts = take(content, range(1, 7), (7,))
        parsed, whole = _REQUEST.FromString(head), _REQUEST.FromString(content)
    except (MalformedRequest, DecodeError):
        return
    parsed.raw_input_contents.extend(bytes(one) for one in parts[7])
    whole.DiscardUnknownFields()
    parsed.DiscardUnknownFields()
    assert parsed == whole


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16384, 2**31])
def test_a_prefix_is_what_protobuf_writes(length: int) -> None:
    """Tag and length."""
    if length < 2**20:
        content = bytes(length)
        assert prefix(7, length) + content == _REQUEST(raw_input_contents=[content]).SerializeToString()
    assert take(prefix(7, 0), (), (7,))[1] == {7: [b""]}
    with pytest.raises(MalformedRequest):
        take(prefix(7, length + 1), (), (7,))
