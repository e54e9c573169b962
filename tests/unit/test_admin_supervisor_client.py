"""Rules of the admin process's line to the supervisor: many threads ask over one connection."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from inference_server.admin import supervisor_client
from inference_server.admin.supervisor_client import MOST_LONG, SupervisorClient
from inference_server.catalogue.commands import Command, ListModels, Register, SetDefault
from inference_server.catalogue.lines import decode, decode_id, encode_answer
from tests.support.processes import PATIENCE, wait_until
from utils.errors import BackendUnavailable, BodyTooLarge, DeadlineExceeded, ModelExists, TooManyChanges


class Supervisor:
    """The other end: it keeps the commands that come, and answers when a test says so."""

    def __init__(self, connection: socket.socket) -> None:
        self.commands: dict[int, Command] = {}
        self._connection = connection
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._connection.makefile("rb") as lines:
            for line in lines:
                number = decode_id(line)
                assert number is not None
                self.commands[number] = decode(line)

    def answer(self, number: int) -> None:
        """Answer one: with its name, but for what is there."""
        command = self.commands[number]
        exists = isinstance(command, Register) and command.url == "there"
        answer = ModelExists("it is there") if exists else {"command": repr(command)}
        self._connection.sendall(encode_answer(answer, number))

    def say(self, line: bytes) -> None:
        """Send a line."""
        self._connection.sendall(line)


@pytest.fixture
def ends() -> Iterator[tuple[SupervisorClient, Supervisor, Callable[[], None]]]:
    """A client, its supervisor, and what ends that."""
    ours, theirs = socket.socketpair()

    def end() -> None:
        ours.shutdown(socket.SHUT_RDWR)

    before = threading.active_count()
    with closing(ours), closing(theirs):
        yield SupervisorClient(theirs), Supervisor(ours), end
        end()
        wait_until(lambda: threading.active_count() == before, "both have read everything")


Ends = tuple[SupervisorClient, Supervisor, Callable[[], None]]


def test_each_thread_gets_its_own_answer(ends: Ends) -> None:
    """In whatever order they come."""
    client, supervisor, _ = ends
    with ThreadPoolExecutor(5) as threads:
        asked = [threads.submit(client.execute, SetDefault("iris", str(number))) for number in range(5)]
        wait_until(lambda: len(supervisor.commands) == 5, "all have come")
        for number in sorted(supervisor.commands, reverse=True):
            supervisor.answer(number)
        for number, one in enumerate(asked):
            assert one.result(PATIENCE) == {"command": repr(SetDefault("iris", str(number)))}


def test_a_failure_is_raised_where_it_was_asked_for(ends: Ends) -> None:
    """And nowhere else."""
    client, supervisor, _ = ends
    with ThreadPoolExecutor(2) as threads:
        failing = threads.submit(client.execute, Register("there"))
        fine = threads.submit(client.execute, Register("echo"))
        wait_until(lambda: len(supervisor.commands) == 2, "both have come")
        for number in list(supervisor.commands):
            supervisor.answer(number)
        with pytest.raises(ModelExists, match="it is there"):
            failing.result(PATIENCE)
        assert fine.result(PATIENCE)


@pytest.mark.security(
    endpoint="admin-http",
    attack="Nine changes at once that take long",
    outcome="The ninth is refused; the others, and what does not take long, are carried out",
)
def test_changes_that_take_long_leave_room_for_what_does_not(ends: Ends) -> None:
    """One too many is refused at once; when another is done there is room again."""
    client, supervisor, _ = ends
    with ThreadPoolExecutor(MOST_LONG + 1) as threads:
        waiting = [threads.submit(client.execute, Register(str(one))) for one in range(MOST_LONG)]
        wait_until(lambda: len(supervisor.commands) == MOST_LONG, "all have come")
        with pytest.raises(TooManyChanges) as caught:
            client.execute(Register("one more"))
        assert caught.value.retry_after is not None
        short = threads.submit(client.execute, ListModels())
        wait_until(lambda: len(supervisor.commands) == MOST_LONG + 1, "it has come")
        for number in list(supervisor.commands):
            supervisor.answer(number)
        assert short.result(PATIENCE)
        assert all(one.result(PATIENCE) for one in waiting)
        again = threads.submit(client.execute, Register("one more"))
        wait_until(lambda: len(supervisor.commands) == MOST_LONG + 2, "it has come")
        supervisor.answer(max(supervisor.commands))
        assert again.result(PATIENCE)


def test_an_end_of_the_supervisor_ends_all_waiting(ends: Ends) -> None:
    """And later commands are refused; nothing is taken for success."""
    client, supervisor, end = ends
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.execute, Register("echo"))
        wait_until(lambda: bool(supervisor.commands), "it has come")
        supervisor.say(b'{"id": 1, "ok"')
        end()
        with pytest.raises(BackendUnavailable, match="ended before"):
            waiting.result(PATIENCE)
    with pytest.raises(BackendUnavailable):
        client.execute(ListModels())


def test_a_client_that_is_closed_waits_no_longer(ends: Ends) -> None:
    """The supervisor answers nothing any more."""
    client, supervisor, _ = ends
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.execute, Register("echo"))
        wait_until(lambda: bool(supervisor.commands), "it has come")
        client.close()
        with pytest.raises(BackendUnavailable):
            waiting.result(PATIENCE)


def test_an_answer_that_comes_too_late_is_nobodys(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose command has been given up; the next one gets its own."""
    client, supervisor, _ = ends
    monkeypatch.setattr(supervisor_client, "patience", lambda _: 0.05)
    with pytest.raises(DeadlineExceeded, match="may be done yet"):
        client.execute(ListModels())
    monkeypatch.undo()
    supervisor.answer(1)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(client.execute, SetDefault("iris", "1"))
        wait_until(lambda: 2 in supervisor.commands, "it has come")
        supervisor.answer(2)
        assert asked.result(PATIENCE) == {"command": repr(SetDefault("iris", "1"))}


def test_a_line_that_the_supervisor_would_not_take_is_not_sent(ends: Ends) -> None:
    """It would close the connection of all."""
    client, supervisor, _ = ends
    with pytest.raises(BodyTooLarge):
        client.execute(Register("x" * (1 << 20)))
    assert supervisor.commands == {}
