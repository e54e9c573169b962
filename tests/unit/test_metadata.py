"""Rules of a request's id."""

import pytest

from utils.metadata import request_id, trace_context, trace_state


@pytest.mark.parametrize("wish", ["a", "id-7", "x" * 128, "!~"])
def test_a_callers_id_is_kept(wish: str) -> None:
    """1 to 128 visible ASCII characters."""
    assert request_id(wish) == wish


@pytest.mark.security(
    endpoint="gateway",
    attack="Request ids with spaces, line breaks or control characters, or of 129 characters",
    outcome="Replaced by a fresh id",
)
@pytest.mark.parametrize("wish", [None, "", "x" * 129, "a b", "a\n", "é", "\x7f"])
def test_what_could_spoil_a_log_line_is_replaced(wish: str | None) -> None:
    """By a fresh id, another one each time."""
    made = {request_id(wish) for _ in range(3)}
    assert len(made) == 3
    assert all(len(one) == 32 and one.isalnum() for one in made)


ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACE = f"00-{ID}-{SPAN}-01"
NO_TRACES = [
    None,
    "",
    "x",
    TRACE.upper(),
    f"{TRACE}-x",
    f"ff-{ID}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{ID}-{'0' * 16}-01",
]


def test_a_valid_trace_context_is_kept() -> None:
    """Of any version but ff, which the specification forbids."""
    for valid in (TRACE, "01" + TRACE[2:]):
        assert trace_context(valid) == valid


@pytest.mark.parametrize("wish", NO_TRACES)
def test_a_trace_context_that_is_none_is_ignored(wish: str | None) -> None:
    """As the specification demands."""
    assert trace_context(wish) == ""


def test_a_trace_state_is_carried_as_far_as_it_must_be() -> None:
    """512 characters that gRPC can send; anything else is dropped, never cut."""
    for state in ("vendor=1", "a=b, c=d", "x" * 512):
        assert trace_state(state) == state
    for dropped in (None, "", "x" * 513, "a=é", "a=\n", "a\t=b"):
        assert trace_state(dropped) == ""
