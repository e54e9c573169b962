"""Rules of what all workers share."""

import os

import pytest

from inference_server.dispatch.page import Page
from inference_server.dispatch.shared import LayoutMismatch, Shared


def test_what_is_shared_is_found_again_by_its_descriptors() -> None:
    """As a worker finds it after it was executed."""
    made = Shared.create(3)
    copies = ",".join(str(os.dup(d)) for d in made.descriptors)
    layout = made.described().partition(":")[0]
    found = Shared.inherited(f"{layout}:{copies}")
    made.page.rows[2].enlist(7, 1.0)
    assert found.page.rows[2].generation == 7
    assert len(found.notify) == len(found.notices) == 3
    made.notify[1].send(b"hello")
    assert found.notices[1].recv(10) == b"hello"
    assert os.get_blocking(found.take.fileno())
    made.close()
    found.close()


def test_what_another_release_shares_is_refused() -> None:
    """A worker that would not understand the memory says so, instead of reading it wrong."""
    with pytest.raises(LayoutMismatch, match="restart"):
        Shared.inherited("0:1,2,3")


def test_a_row_is_its_owners_alone() -> None:
    """Writing one leaves its neighbours as they were."""
    page = Page(os.memfd_create("page"), 3)
    row = page.rows[1]
    row.enlist(2**63, 1.5)
    row.waiting, row.rate, row.busy, row.checksum = (1, 2, 3.5), 0.25, True, b"\xff" * 32
    assert (row.generation, row.beat, row.waiting, row.rate) == (2**63, 1.5, (1, 2, 3.5), 0.25)
    page.deaths = 2**63
    assert row.holds(b"\xff" * 32)
    assert not row.holds(b"\xff" * 31 + b"\xfe")
    for neighbour in (page.rows[0], page.rows[2]):
        assert (neighbour.generation, neighbour.waiting, neighbour.checksum) == (0, (0, 0, 0.0), None)
    row.clear()
    assert page.deaths == 2**63
    assert row.checksum is None
    assert (row.generation, row.beat) == (0, 0.0)
