"""Rules of what all workers share."""

import os
import socket
import struct
import tempfile
import threading

import pytest

from inference_server.dispatch.row import MOST_IN_FLIGHT
from inference_server.dispatch.shared import LayoutMismatch, LostDescriptor, Shared
from inference_server.dispatch.stats import SharedStats
from tests.support.processes import PATIENCE

KEY = bytes(range(32))


def inherit(made: Shared) -> Shared:
    """Find it again as a worker does after it was executed."""
    *numbers, _ = made.described().split(":")
    copies = ",".join(str(os.dup(d)) for d in made.descriptors)
    return Shared.inherited(":".join([*numbers, copies]))


def test_what_is_shared_is_found_again_by_its_descriptors() -> None:
    """It needs no other word of how many there are."""
    made = Shared.create(3, queues=2, model_slots=4)
    found = inherit(made)
    made.stats.rows[2].assign(7, 1.0)
    made.stats.rows[2].add_waiting(1, 1, 2, 3.0)
    made.stats.rows[6].assign(8, 1.0)
    made.stats.rows[6].consuming, made.stats.rows[6].rate = 1, 0.5
    assert (found.slots, found.model_slots) == (3, 4)
    assert [row.generation for row in found.stats.rows] == [0, 0, 7, 0, 0, 0, 8]
    assert found.stats.waiting(1) == (1, 2, 3.0)
    assert found.stats.rates(1) == [0.5]
    assert len(found.completion_senders) == len(found.completion_receivers) == 3
    made.completion_senders[1].send(b"hello")
    assert found.completion_receivers[1].recv(10) == b"hello"
    for queue in range(2):
        made.queue_senders[queue].send(b"%d" % queue)
        assert os.get_blocking(found.queue_receivers[queue].fileno())
        assert found.queue_receivers[queue].recv(10) == b"%d" % queue
    made.publication.publish(b"news")
    assert found.publication.read() == (1, b"news")
    made.close()
    found.close()


def test_all_queues_and_places_are_made_at_once() -> None:
    """None of them has to be passed to a process that runs already."""
    made = Shared.create(2, 33, 64)
    assert (len(made.queue_senders), made.slots, made.model_slots) == (33, 2, 64)
    assert len(made.stats.rows) == 66
    made.close()


def test_a_request_is_received_with_its_buffer_or_there_is_none() -> None:
    """In the order in which they were sent; one whose buffer is lost is a fault of its own."""
    made = Shared.create(1, queues=2, model_slots=0)
    with tempfile.TemporaryFile() as file:
        for number in range(2):
            assert made.send(b"%d" % number, file.fileno(), 1)
        assert made.receive(0, wait=False) is None
        for number in range(2):
            received = made.receive(1, wait=bool(number))
            assert received is not None
            packet, descriptor = received
            assert packet == b"%d" % number
            assert os.path.sameopenfile(descriptor, file.fileno())
            os.close(descriptor)
    assert made.receive(1, wait=False) is None
    made.queue_senders[1].send(b"alone")
    with pytest.raises(LostDescriptor):
        made.receive(1, wait=False)
    made.close()


def test_who_does_not_wait_for_a_request_is_told_at_once_that_there_is_none() -> None:
    """Whatever time limit the socket has, here none at all."""
    made = Shared.create(1, queues=1, model_slots=0)
    made.queue_receivers[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("=qq", 0, 0))
    looking = threading.Thread(target=made.receive, args=(0,), kwargs={"wait": False}, daemon=True)
    looking.start()
    looking.join(PATIENCE)
    assert not looking.is_alive()
    made.close()


def test_what_another_release_shares_is_refused() -> None:
    """A worker that would not understand the memory says so, instead of reading it wrong."""
    with pytest.raises(LayoutMismatch, match="restart"):
        Shared.inherited("0:1,2,3")


def test_a_row_is_its_owners_alone() -> None:
    """Writing one leaves its neighbours as they were, of whichever kind they are."""
    key = b"\xff" * 32
    for ours in range(4):
        stats = SharedStats(os.memfd_create("stats"), 2, model_slots=2, queues=33)
        row = stats.rows[ours]
        row.assign(2**63, 1.5)
        row.rate, row.busy, row.in_flight, row.consuming = 0.25, True, [key] * MOST_IN_FLIGHT, 0
        row.note_computed(key)
        row.show_progress(2.5, grace=1.0)
        for queue in range(33):
            row.add_waiting(queue, queue, 2, 3.5)
        assert (row.generation, row.heartbeat, row.rate, row.consuming) == (2**63, 1.5, 0.25, 0)
        assert (row.last_progress, row.progress_due) == (2.5, 3.5)
        assert row.in_flight == [key] * MOST_IN_FLIGHT
        stats.poison.record_death(key, 1.0)
        for neighbour in (other for other in stats.rows if other is not row):
            assert (neighbour.generation, neighbour.in_flight, neighbour.consuming) == (0, [], None)
            assert not neighbour.has_computed(key)
        waiting = [stats.waiting(queue) for queue in range(33)]
        assert waiting == [(queue, 66, 3.5) if ours < 2 else (0, 0, 0.0) for queue in range(33)]
        row.clear()
        assert stats.poison.deaths(key) == 1
        assert (row.generation, row.heartbeat, row.in_flight) == (0, 0.0, [])
        assert stats.waiting(32) == (0, 0, 0.0)


def test_the_keys_in_flight_are_whole_ones_and_those_alone() -> None:
    """As many as there are, without those that were put down, and not what lies across two of them."""
    row = SharedStats(os.memfd_create("stats"), 1).rows[0]
    keys = [bytes([number]) * 32 for number in range(1, MOST_IN_FLIGHT + 1)]
    row.in_flight = keys
    assert all(row.holds(key) for key in keys)
    assert not row.holds(keys[0][:16] + keys[1][:16])
    assert not row.holds(b"\xff" * 32)
    row.drop(keys[1])
    row.drop(b"\xff" * 32)
    assert row.in_flight == [keys[0], *keys[2:]]
    assert not row.holds(keys[1])
    row.in_flight = keys[:1]
    assert not row.holds(keys[2])
    with pytest.raises(ValueError, match="assignment"):
        row.in_flight = [*keys, keys[0]]


def test_workers_take_from_the_first_queue_and_model_workers_from_the_others() -> None:
    """So nobody looks at the rows of the other kind."""
    stats = SharedStats(os.memfd_create("stats"), 2, model_slots=2, queues=3)
    for slot, (row, queue) in enumerate(zip(stats.rows, (0, None, 2, 1), strict=True)):
        row.consuming, row.rate, row.in_flight = queue, slot + 1.0, [KEY]
        row.show_progress(10.0 + slot)
    assert [stats.rates(queue) for queue in range(3)] == [[1.0], [4.0], [3.0]]
    assert [stats.progressed(queue) for queue in range(3)] == [10.0, 13.0, 12.0]
    holders = [stats.holders(queue, KEY) for queue in range(3)]
    assert holders == [[stats.rows[0]], [stats.rows[3]], [stats.rows[2]]]
    stats.rows[3].note_computed(KEY)
    assert [stats.has_computed(queue, KEY) for queue in (0, 1)] == [False, True]
