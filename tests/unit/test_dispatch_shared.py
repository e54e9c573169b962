"""Rules of what all workers share."""

import os

import pytest

from inference_server.dispatch.shared import LayoutMismatch, Shared
from inference_server.dispatch.stats import SharedStats


def test_what_is_shared_is_found_again_by_its_descriptors() -> None:
    """As a worker finds it after it was executed: it needs no other word of how many there are."""
    made = Shared.create(3, queues=2)
    layout, queues, _ = made.described().split(":")
    copies = ",".join(str(os.dup(d)) for d in made.descriptors)
    found = Shared.inherited(f"{layout}:{queues}:{copies}")
    made.stats.rows[2].assign(7, 1.0)
    made.stats.rows[2].add_waiting(1, 1, 2, 3.0)
    assert found.stats.rows[2].generation == 7
    assert found.stats.waiting(1) == (1, 2, 3.0)
    assert len(found.completion_senders) == len(found.completion_receivers) == len(found.stats.rows) == 3
    made.completion_senders[1].send(b"hello")
    assert found.completion_receivers[1].recv(10) == b"hello"
    for queue in range(2):
        made.queue_senders[queue].send(b"%d" % queue)
        assert os.get_blocking(found.queue_receivers[queue].fileno())
        assert found.queue_receivers[queue].recv(10) == b"%d" % queue
    made.close()
    found.close()


def test_what_another_release_shares_is_refused() -> None:
    """A worker that would not understand the memory says so, instead of reading it wrong."""
    with pytest.raises(LayoutMismatch, match="restart"):
        Shared.inherited("0:1,2,3")


def test_a_row_is_its_owners_alone() -> None:
    """Writing one leaves its neighbours as they were."""
    stats = SharedStats(os.memfd_create("stats"), 3, queues=33)
    row = stats.rows[1]
    row.assign(2**63, 1.5)
    row.rate, row.busy, row.key, row.consuming = 0.25, True, b"\xff" * 32, 0
    row.show_progress(2.5, grace=1.0)
    for queue in range(33):
        row.add_waiting(queue, queue, 2, 3.5)
    assert (row.generation, row.heartbeat, row.rate, row.consuming) == (2**63, 1.5, 0.25, 0)
    assert (row.last_progress, row.progress_due) == (2.5, 3.5)
    assert [row.waiting(queue) for queue in range(33)] == [(queue, 2, 3.5) for queue in range(33)]
    stats.poison.record_death(b"\xff" * 32, 1.0)
    assert row.holds(b"\xff" * 32)
    assert not row.holds(b"\xff" * 31 + b"\xfe")
    for neighbour in (stats.rows[0], stats.rows[2]):
        assert (neighbour.generation, neighbour.key, neighbour.consuming) == (0, None, None)
        assert all(neighbour.waiting(queue) == (0, 0, 0.0) for queue in range(33))
    row.clear()
    assert stats.poison.deaths(b"\xff" * 32) == 1
    assert row.key is None
    assert (row.generation, row.heartbeat, row.waiting(32)) == (0, 0.0, (0, 0, 0.0))
