"""Rules of a request's id."""

import pytest

from utils.request_ids import request_id


@pytest.mark.parametrize("wish", ["a", "id-7", "x" * 128, "!~"])
def test_a_callers_id_is_kept(wish: str) -> None:
    """1 to 128 visible ASCII characters."""
    assert request_id(wish) == wish


@pytest.mark.parametrize("wish", [None, "", "x" * 129, "a b", "a\n", "é", "\x7f"])
def test_what_could_spoil_a_log_line_is_replaced(wish: str | None) -> None:
    """By a fresh id, another one each time."""
    made = {request_id(wish) for _ in range(3)}
    assert len(made) == 3
    assert all(len(one) == 32 and one.isalnum() for one in made)
