"""Rules of the lines in which the supervisor is asked and answers."""

import json

import pytest

from inference_server.catalogue.commands import (
    Command,
    DescribeModel,
    Drain,
    ListModels,
    Register,
    Scale,
    SetCanary,
    SetDefault,
    SetLogLevel,
    SetTraffic,
    Status,
    Unregister,
)
from inference_server.catalogue.lines import decode, decode_answer, decode_id, encode, encode_answer
from utils.errors import InternalError, InvalidModel, MalformedRequest, TooManyModels


@pytest.mark.parametrize(
    "command",
    [
        Register("iris", "flower", "1.0", {"nice": 5}, synchronous=False),
        Unregister("iris"),
        Scale("iris", "1.0", 2, 4),
        Scale("iris", min_workers=0),
        SetDefault("iris", "2.0"),
        SetCanary("iris", {"2.0": 10}),
        SetTraffic("iris", {"1.0": 90, "2.0": 10}),
        ListModels(),
        DescribeModel("iris", "1.0"),
        Status(),
        Drain(),
        SetLogLevel("DEBUG"),
    ],
)
@pytest.mark.parametrize("number", [None, 0, 7])
def test_a_command_is_one_line_and_comes_back(command: Command, number: int | None) -> None:
    """Whatever is in it, with an id or without one."""
    line = encode(command, number)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line) == command
    assert decode_id(line) == number


def test_an_answer_has_the_id_of_its_command() -> None:
    """Be it what was done, or why it was not; lines of before there were ids have none."""
    for answer in ({"name": "iris"}, TooManyModels("full")):
        assert decode_id(encode_answer(answer, 7)) == 7
        assert decode_id(encode_answer(answer)) is None
    assert [decode_id(line) for line in (b"{", b"[]", b'{"id": "7"}', b'{"id": null}')] == [None] * 4


def test_a_member_that_may_be_missing_has_its_default() -> None:
    """For those who write lines by hand."""
    assert decode(b'{"command": "Register", "url": "iris"}') == Register("iris")


@pytest.mark.security(
    endpoint="control",
    attack="Lines that are no command",
    outcome="Refused with what is wrong",
)
@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "command is None; accepted: one of Register, Unregister"),
        (b'{"command": ["Register"]}', "accepted"),
        (b'{"command": "Command"}', "accepted"),
        (b'{"command": "Register"}', "lacks the member"),
        (b'{"command": "Register", "url": 1}', "url is 1"),
        (b'{"command": "Register", "url": "a", "synchronous": 1}', "synchronous is 1"),
        (b'{"command": "Register", "url": "a", "settings": null}', "settings is None"),
        (b'{"command": "Scale", "name": "a", "min_workers": true}', "min_workers is True"),
        (b'{"command": "Scale", "name": "a", "workers": 1}', "workers is 1; it is no member of Scale"),
    ],
)
def test_another_line_is_refused(line: bytes, why: str) -> None:
    """With what is wrong."""
    with pytest.raises(MalformedRequest, match=why):
        decode(line)


def test_an_answer_says_what_was_done() -> None:
    """In one line."""
    line = encode_answer({"name": "iris\n"})
    assert line.count(b"\n") == 1
    assert decode_answer(line) == {"name": "iris\n"}


@pytest.mark.parametrize(
    "error", [InvalidModel("no", field="name"), TooManyModels("full", retry_after=2.0), InternalError()]
)
def test_an_error_is_the_same_class_on_the_other_side(error: InvalidModel) -> None:
    """With all that it says."""
    with pytest.raises(type(error)) as caught:
        decode_answer(encode_answer(error))
    assert (caught.value.detail, caught.value.field, caught.value.retry_after) == (
        error.detail,
        error.field,
        error.retry_after,
    )


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b'{"error": {}}', b'{"ok": 1}', b"3"])
def test_an_answer_that_cannot_be_read_is_no_success(line: bytes) -> None:
    """It is of another release, or cut off."""
    with pytest.raises(InternalError, match="cannot be read"):
        decode_answer(line)


def test_an_unknown_reason_is_a_failure_all_the_same() -> None:
    """Of a backend that is newer than its client."""
    error = {"reason": "NEW", "detail": "something", "field": None}
    with pytest.raises(InternalError, match="something"):
        decode_answer(json.dumps({"error": error}).encode())
