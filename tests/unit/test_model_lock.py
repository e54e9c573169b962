"""The numbers of a model's fields stay what they are, and no version breaks the clients of another."""

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel, create_model

from inference_server.catalogue.growth import check_growth
from inference_server.models.lock import Entry, Lock
from inference_server.models.schema import Schema
from tests.support.schemas import Colour, Exact, Point, card
from utils.errors import InvalidModel


class Old(BaseModel):
    first: int
    second: str
    third: list[Point]
    choice: Literal["a", "b"]


OLD: dict[str, Any] = {"first": int, "second": str, "third": list[Point], "choice": Literal["a", "b"]}


def made_of(fields: dict[str, Any], lock: Lock | None = None) -> Schema:
    """The schema of a model whose input has these fields."""
    return Schema("flowers", of_fields("In", fields), Point, lock)


def of_fields(name: str, fields: dict[str, Any]) -> type[BaseModel]:
    """A class with these fields, whose values are types, or types with defaults."""
    members: dict[str, Any] = {
        name: kind if isinstance(kind, tuple) else (kind, ...) for name, kind in fields.items()
    }
    made: type[BaseModel] = create_model(name, **members)
    return made


def numbers(schema: Schema) -> dict[str, int]:
    """Those of the fields of the input."""
    return {field.name: field.number for field in schema.descriptor.message_type[0].field}


def locked(fields: dict[str, Any]) -> Lock:
    """The lock that is written for a model with these fields."""
    lock = Lock()
    made_of(fields, lock)
    return Lock.from_json(lock.to_json().encode())


def test_without_a_lock_fields_are_numbered_in_their_order() -> None:
    """From 1, as the values of enums."""
    schema = made_of(OLD)
    assert numbers(schema) == {"first": 1, "second": 2, "third": 3, "choice": 4}
    assert [value.number for value in schema.descriptor.enum_type[0].value] == [0, 1, 2]


def test_reordered_fields_keep_the_numbers_of_the_lock() -> None:
    """And so do reordered values of an enum."""
    lock = locked(OLD)
    schema = made_of(dict(reversed(OLD.items())) | {"choice": Literal["b", "a"]}, lock)
    assert numbers(schema) == {"first": 1, "second": 2, "third": 3, "choice": 4}
    assert {value.name[-1]: value.number for value in schema.descriptor.enum_type[0].value} == {
        "D": 0,  # of UNSPECIFIED
        "a": 1,
        "b": 2,
    }


def test_a_version_with_reordered_fields_reads_the_bytes_of_one_without() -> None:
    """That is what the lock is for."""
    fields = {"first": int, "second": str}
    lock = locked(fields)
    old, new = made_of(fields, lock), made_of(dict(reversed(fields.items())), lock)
    message = bytes.fromhex("0807 1203616263")
    assert dict(old.decode(message)) == dict(new.decode(message)) == {"first": 7, "second": "abc"}


def test_a_field_that_the_lock_does_not_have_is_refused_by_name() -> None:
    """Whoever adds it shall write the lock again, for all the versions to come."""
    with pytest.raises(InvalidModel, match="does not have added of flowers_input") as caught:
        made_of({**OLD, "added": bool}, locked(OLD))
    assert caught.value.field == "flowers_input.added"


def test_a_lock_that_is_being_written_numbers_new_fields_behind_all_that_there_ever_were() -> None:
    """The number of one that was removed is not given again."""
    lock = Lock({"flowers_input": {"gone": Entry(7, "bool"), "first": Entry(2, "int64")}})
    assert numbers(made_of({"new": int, "first": int, "newer": int}, lock)) == {
        "new": 8,
        "first": 2,
        "newer": 9,
    }


def test_the_numbers_that_protobuf_keeps_for_itself_are_passed_over() -> None:
    """From 19,000 to 19,999."""
    lock = Lock({"flowers_input": {"first": Entry(18_999, "int64")}})
    assert numbers(made_of({"first": int, "new": int}, lock)) == {"first": 18_999, "new": 20_000}


def test_a_field_of_another_type_than_in_the_lock_is_refused_by_name() -> None:
    """Even where the versions that had it are no longer registered."""
    with pytest.raises(InvalidModel, match="first of flowers_input is string, but int64") as caught:
        made_of({**OLD, "first": str}, locked(OLD))
    assert caught.value.field == "flowers_input.first"


def test_what_a_version_has_no_more_is_reserved() -> None:
    """So that nobody who has only the descriptor gives its number to something else."""
    file = made_of({"first": int, "choice": Literal["b"]}, locked(OLD)).descriptor
    [message, *_], [enum] = file.message_type, file.enum_type
    assert [*message.reserved_name] == ["second", "third"]
    assert [(part.start, part.end) for part in message.reserved_range] == [(2, 3), (3, 4)]
    assert [*enum.reserved_name] == ["flowers_input_choice_a"]
    assert [(part.start, part.end) for part in enum.reserved_range] == [(1, 1)]


def test_a_lock_is_read_as_it_was_written() -> None:
    """With all messages and enums."""
    lock = Lock()
    made_of(OLD, lock)
    assert Lock.from_json(lock.to_json().encode()).entries == lock.entries
    assert lock.entries["flowers_output"] == {"x": Entry(1, "float"), "y": Entry(2, "optional float")}


def lock_file(number: object = 1, type_: object = "bool", form: object = 1) -> bytes:
    """A file with one field, which may be wrong."""
    member = {"number": number, "type": type_}
    return json.dumps({"format": form, "messages": {"flowers_input": {"first": member}}}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"format": 1}',
        b'{"format": 1, "messages": []}',
        b'{"format": 1, "messages": {"a": {"b": 1}}}',
        lock_file(form=2),
        lock_file(number=0),
        lock_file(number=2**29),
        lock_file(number="1"),
        lock_file(type_=3),
    ],
)
def test_what_is_no_lock_file_is_refused(content: bytes) -> None:
    """Rather than numbered anew."""
    with pytest.raises(InvalidModel, match=r"schema\.lock is "):
        Lock.from_json(content)


def test_a_lock_that_gives_a_number_twice_is_refused() -> None:
    """Somebody has edited it."""
    content = lock_file().replace(b"}}}}", b'}, "second": {"number": 1, "type": "bool"}}}}')
    with pytest.raises(InvalidModel, match="gives a number twice in flowers_input") as caught:
        Lock.from_json(content)
    assert caught.value.field == "flowers_input"


CHANGES: list[tuple[str, dict[str, Any], str]] = [
    ("removed", {"second": str, "third": list[Point], "choice": Literal["a", "b"]}, "first"),
    ("renumbered", {"second": str, "first": int, "third": list[Point], "choice": Literal["a", "b"]}, "first"),
    ("inserted before", {"initial": int, **OLD}, "first"),
    ("retyped", {**OLD, "first": Exact}, "first"),
    ("optional", {**OLD, "second": str | None}, "second"),
    ("repeated", {**OLD, "second": list[str]}, "second"),
    ("single", {**OLD, "third": Point}, "third"),
    ("another message", {**OLD, "third": list[Old]}, "third"),
    ("another enum", {**OLD, "choice": Colour}, "choice"),
]


@pytest.mark.parametrize(
    ("fields", "field"), [change[1:] for change in CHANGES], ids=[one[0] for one in CHANGES]
)
@pytest.mark.parametrize("new_comes_first", [True, False])
def test_a_version_that_breaks_what_another_has_is_refused_by_the_field(
    fields: dict[str, Any], field: str, *, new_comes_first: bool
) -> None:
    """Whichever of the two is registered first."""
    cards = [card(made_of(fields), "1.10"), card(made_of(OLD), "1.9")]
    added, there = cards if new_comes_first else reversed(cards)
    with pytest.raises(InvalidModel, match=f"^{field} of flowers_input ") as caught:
        check_growth(added, [card(made_of(OLD), "1.9"), there])
    assert caught.value.field == f"flowers_input.{field}"


def test_a_version_without_a_value_of_an_enum_is_refused_by_the_value() -> None:
    """Clients may send it, or get it."""
    newer = card(made_of({**OLD, "choice": Literal["a"]}), "2.0")
    with pytest.raises(InvalidModel, match="flowers_input_choice_b of flowers_input_choice was removed"):
        check_growth(newer, [card(made_of(OLD))])


def test_a_version_may_add_fields_values_and_messages() -> None:
    """Behind those that there are; callers of the versions before need not send them."""
    added = {"choice": Literal["a", "b", "c"], "added": (bool | None, None), "old": (Old | None, None)}
    check_growth(card(made_of({**OLD, **added}), "2.0"), [card(made_of(OLD))])


@pytest.mark.parametrize("kind", [bool, bool | None, list[str], Colour, Point], ids=str)
@pytest.mark.parametrize("new_comes_first", [True, False])
def test_a_version_that_requires_another_field_is_refused_by_the_field(
    kind: object, *, new_comes_first: bool
) -> None:
    """Callers of the versions before do not send it."""
    cards = [card(made_of({**OLD, "added": kind}), "2.0"), card(made_of(OLD))]
    added, there = cards if new_comes_first else reversed(cards)
    with pytest.raises(InvalidModel, match=r"^added of flowers_input is required") as caught:
        check_growth(added, [there])
    assert caught.value.field == "flowers_input.added"


def test_a_version_that_requires_a_field_that_had_a_default_is_refused_by_the_field() -> None:
    """Also where messages are the same, as those of lists are."""
    older = card(made_of({**OLD, "third": (list[Point], [])}))
    with pytest.raises(InvalidModel, match=r"^third of flowers_input is required"):
        check_growth(card(made_of(OLD), "2.0"), [older])
    check_growth({**older, "version": "2.0"}, [card(made_of(OLD))])


PARTS: list[dict[str, Any]] = [{"x": int}, {"x": int, "y": int}]


def test_a_version_that_requires_another_field_of_a_member_is_refused_by_the_field() -> None:
    """Of a message that callers send, and not of one that they get."""
    older, newer = (of_fields("With", {"part": of_fields("Part", fields)}) for fields in PARTS)
    check_growth(card(Schema("flowers", Point, newer), "2.0"), [card(Schema("flowers", Point, older))])
    with pytest.raises(InvalidModel, match=r"^y of flowers_Part is required"):
        check_growth(card(Schema("flowers", newer, Point), "2.0"), [card(Schema("flowers", older, Point))])


def test_a_card_that_does_not_tell_what_is_required_is_no_obstacle() -> None:
    """As one that a release before this one has written down."""
    older = card(made_of(OLD))
    del older["required"]
    check_growth(card(made_of({**OLD, "added": bool}), "2.0"), [older])


def test_versions_are_compared_with_all_others() -> None:
    """Not with the last one alone."""
    others = [card(made_of({**OLD, "more": bool}), "1.1"), card(made_of(OLD), "1.2")]
    with pytest.raises(InvalidModel, match="more of flowers_input was removed"):
        check_growth(card(made_of(OLD), "2.0"), others)
