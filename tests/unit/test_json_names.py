"""Rules of names that an object of JSON may not have twice."""

import json
import sys

import pytest

from utils.errors import MalformedRequest
from utils.json_names import refuse_repeated_names

LARGE = b"QUJD" * 5000


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b'"a"',
        b'{"a": 1, "b": {"a": 2, "b": [{"a": 1}, {"a": 2}]}}',
        b'{"image": "%s"}' % LARGE,
        b'{"text": "a: b: \\"a\\": c", "a": "data:;base64,"}',
        b'{"a": ":", "b": ":", "c": "\\"c\\":1", "c:": "c:"}',
        b'\xef\xbb\xbf{"a": [{"b": 1}, {"b": 1}]}',
        b'{"a": [{"b": %s}, {"b": 1e999}]}' % (b"1" * (sys.get_int_max_str_digits() + 1)),
        '{"ä": 1, "a": 2}'.encode(),
    ],
)
def test_the_same_names_in_different_objects_are_no_fault(text: bytes) -> None:
    """Nor is what looks like a name in a text."""
    refuse_repeated_names(text)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (b'{"a": 1, "a": 1}', "a"),
        (b'{"a": 1, "b": "%s", "a" \n: 2}' % LARGE, "a"),
        (b'{"a":"b:c","":1,"":2}', ""),
        (b'{"a": 1, "\\u0061": 2}', "a"),
        ('{"ä": 1, "b": 1, "ä": 1}'.encode(), "ä"),
        (b'{"a": {"b": 1, "b": 1}}', "a.b"),
        (b'[{"a": 1}, {"a": [{"b": 1, "c": {}, "c": {}}]}]', "1.a.0.c"),
        (b'{"a": {"b": 1, "b": 1}, "a": 1}', "a"),
        (b'{"%s": 1, "%s": 1}' % (LARGE, LARGE), LARGE[:40].decode()),
    ],
)
def test_a_name_that_comes_twice_in_an_object_is_refused_with_its_path(text: bytes, path: str) -> None:
    """As any JSON, to which a parser would say nothing."""
    json.loads(text)
    with pytest.raises(MalformedRequest) as caught:
        refuse_repeated_names(text)
    assert caught.value.field == path
    assert caught.value.detail == f"{path!r} is given twice"
