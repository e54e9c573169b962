"""Rules of what a later process of a version must keep."""

from collections.abc import Mapping
from typing import Any

import pytest

from inference_server.catalogue.growth import check_kept
from utils.errors import InvalidModel

Card = Mapping[str, Any]

WIDTH: Card = {"properties": {"width": {}}, "required": ["width"]}
BEFORE: Card = {
    "name": "iris",
    "version": "1.0",
    "operations": ["typed", "json"],
    "input_type": "iris_input",
    "fields": {"iris_input": {"width": [1, "float"]}},
    "input_schema": {**WIDTH, "$defs": {"Leaf": WIDTH}},
}
HEIGHT: Card = {"properties": {"width": {}, "height": {}}, "required": ["width"]}
HEIGHT_REQUIRED: Card = {**HEIGHT, "required": ["width", "height"]}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"description": "other words"},
        {"operations": ["typed", "json", "multipart"]},
        {"fields": {"iris_input": {"width": [1, "float"], "height": [2, "optional float"]}}},
        {"input_schema": {**HEIGHT, "$defs": {"Leaf": HEIGHT, "New": HEIGHT_REQUIRED}}},
        {"input_schema": {"properties": {"width": {}}, "required": []}},
    ],
)
def test_a_later_process_may_know_more(change: Card) -> None:
    """A type that is new may require what it likes: no client has sent it without."""
    check_kept({**BEFORE, **change}, BEFORE)


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"name": "tulip"}, "version", "iris/1.0 says that it is tulip/1.0"),
        ({"version": "1.1"}, "version", "iris/1.0 says that it is iris/1.1"),
        ({"operations": ["json"]}, None, "cannot be called by typed"),
        ({"fields": {"iris_input": {}}}, "iris_input.width", "was removed"),
        ({"fields": {"iris_input": {"width": [2, "float"]}}}, "iris_input.width", "has number 2"),
        ({"fields": {"iris_input": {"width": [1, "int64"]}}}, "iris_input.width", "is int64"),
        ({"input_schema": HEIGHT_REQUIRED}, "iris_input.height", "is new and required"),
        (
            {"input_schema": {**WIDTH, "$defs": {"Leaf": HEIGHT_REQUIRED}}},
            "Leaf.height",
            "is new and required",
        ),
    ],
)
def test_a_later_process_keeps_what_clients_rely_on(change: Card, field: str | None, reason: str) -> None:
    """What it breaks is named."""
    with pytest.raises(InvalidModel, match=reason) as caught:
        check_kept({**BEFORE, **change}, BEFORE)
    assert caught.value.field == field
