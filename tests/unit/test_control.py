"""Rules of the line between supervisor and worker."""

import pytest

from inference_server.supervision.control import Control


def test_messages_arrive_in_order_and_whole() -> None:
    """Each datagram is one message, with its values."""
    ours, theirs = Control.pair()
    assert ours.send("ready")
    assert ours.send("failed", reason="no model")
    assert theirs.receive() == {"event": "ready"}
    assert theirs.receive() == {"event": "failed", "reason": "no model"}
    assert theirs.receive() is None
    ours.close()
    theirs.close()


def test_the_end_of_the_other_process_is_told_after_its_last_message() -> None:
    """What it said before it ended is not lost."""
    ours, theirs = Control.pair()
    ours.send("stopping")
    ours.close()
    assert theirs.receive() == {"event": "stopping"}
    with pytest.raises(EOFError):
        theirs.receive()
    assert not theirs.send("drain")
    theirs.close()


def test_last_words_are_heard_though_the_other_process_ended_with_something_unread() -> None:
    """The kernel reports that first, as an error."""
    ours, theirs = Control.pair()
    theirs.send("heard", count=1)
    ours.send("failed", reason="no model")
    ours.close()
    assert theirs.receive() == {"event": "failed", "reason": "no model"}
    with pytest.raises(EOFError):
        theirs.receive()
    theirs.close()


def test_sending_never_waits_for_a_process_that_does_not_read() -> None:
    """A hung worker must not hang its supervisor."""
    ours, theirs = Control.pair()
    sent = 0
    while ours.send("drain"):
        sent += 1
        assert sent < 100_000
    assert sent > 1
    ours.close()
    theirs.close()
