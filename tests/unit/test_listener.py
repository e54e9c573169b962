"""Rules of the sockets that the supervisor listens on for a child."""

import contextlib
import socket
from pathlib import Path

import pytest

from inference_server.supervision.address import AddressUnavailable
from inference_server.supervision.listener import listen


@pytest.mark.security(
    endpoint="processes",
    attack="A socket file at which somebody listens and accepts nothing",
    outcome="The start ends rather than waits",
)
def test_a_socket_whose_owner_accepts_nothing_is_taken_all_the_same(tmp_path: Path) -> None:
    """The start fails rather than that it waits, though no other connection finds room there."""
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other, contextlib.ExitStack() as waiting:
        other.bind(str(path))
        other.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                client = waiting.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                client.setblocking(False)
                client.connect(str(path))
        with pytest.raises(
            AddressUnavailable, match=rf"FACET_ADMIN_ADDRESS is unix:{path}, which cannot be used"
        ):
            listen(path, "FACET_ADMIN_ADDRESS")
        assert path.exists()
