"""Rules of the socket by which operators reach the supervisor."""

import json
import os
import select
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from inference_server.catalogue.commands import Answer, Command, ListModels, Register, Unregister
from inference_server.catalogue.control_connection import LONGEST_LINE
from inference_server.catalogue.control_socket import ControlSocket, call
from inference_server.catalogue.lines import decode_id, encode
from tests.support.processes import PATIENCE, wait_until
from utils.errors import BackendUnavailable, DeadlineExceeded, ModelExists
from utils.settings import InvalidSetting


class Supervisor:
    """Carries out commands in a loop of its own; one named `later` is answered when a test says so."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commands: list[Command] = []
        self.later: list[Callable[[Answer], None]] = []
        self.socket = ControlSocket(self._execute)
        self.socket.listen(path)
        self._adopted: list[socket.socket] = []
        self._stop = threading.Event()
        self._loop = threading.Thread(target=self._run)
        self._loop.start()

    def _execute(self, command: Command, reply: Callable[[Answer], None]) -> None:
        self.commands.append(command)
        match command:
            case Register(url="later"):
                self.later.append(reply)
            case Register(url="there"):
                reply(ModelExists("it is there", field="name"))
            case Unregister(name="all"):
                for waiting in self.later:
                    waiting({"answered": "late"})
                reply({})
            case _:
                reply({"number": len(self.commands), "filler": "x" * 1_000_000})

    def adopt(self, connected: socket.socket) -> None:
        """Have the loop take a connection."""
        self._adopted.append(connected)

    def _run(self) -> None:
        while not self._stop.is_set():
            while self._adopted:
                self.socket.adopt(self._adopted.pop())
            if select.select([self.socket], [], [], 0.05)[0]:
                self.socket.handle()

    def stop(self) -> None:
        self._stop.set()
        self._loop.join()
        self.socket.close()

    def call(self, command: Command) -> dict[str, Any]:
        return call(self.path, command, PATIENCE)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(PATIENCE)
        client.connect(str(self.path))
        return client


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """One that listens."""
    made = Supervisor(tmp_path / "control.sock")
    yield made
    made.stop()


def test_a_command_is_answered(supervisor: Supervisor) -> None:
    """Be the answer longer than what a socket takes at once."""
    answer = supervisor.call(ListModels())
    assert (answer["number"], len(answer["filler"])) == (1, 1_000_000)
    assert supervisor.commands == [ListModels()]


def test_a_failure_is_raised_as_what_it_is(supervisor: Supervisor) -> None:
    """With all that the backend says."""
    with pytest.raises(ModelExists, match="it is there") as caught:
        supervisor.call(Register("there"))
    assert caught.value.field == "name"


def test_others_are_answered_while_one_waits(supervisor: Supervisor) -> None:
    """A register may take a minute; it is answered when it is done."""
    with closing(supervisor.connect()) as client:
        client.sendall(b'{"command": "Register", "url": "later"}\n')
        wait_until(lambda: bool(supervisor.later), "the command has come")
        assert supervisor.call(ListModels())
        supervisor.call(Unregister("all"))
        assert json.loads(client.makefile("rb").readline()) == {"ok": {"answered": "late"}}


@pytest.mark.security(
    endpoint="control",
    attack="An answer of a megabyte that nobody reads",
    outcome="Others are answered",
)
def test_a_client_that_does_not_read_holds_up_nobody(supervisor: Supervisor) -> None:
    """Though its answer is more than what its socket holds."""
    with closing(supervisor.connect()) as client:
        client.sendall(b'{"command": "ListModels"}\n')
        wait_until(lambda: bool(supervisor.commands), "the command has come")
        assert supervisor.call(ListModels())["number"] == 2
        assert len(client.makefile("rb").readline()) > 1_000_000


def test_commands_of_one_connection_are_carried_out_one_after_the_other(supervisor: Supervisor) -> None:
    """Though they come at once, and nothing more is sent; a wrong one is answered, too."""
    with closing(supervisor.connect()) as client:
        client.sendall(
            b'{"command": "Register", "url": "later"}\nwrong\n{"command": "Register", "url": "there"}\n'
        )
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: bool(supervisor.later), "the first command has come")
        supervisor.call(ListModels())
        assert supervisor.commands == [Register("later"), ListModels()]
        supervisor.call(Unregister("all"))
        answers = [json.loads(line) for line in client.makefile("rb")]
    assert answers[0] == {"ok": {"answered": "late"}}
    assert [answer["error"]["reason"] for answer in answers[1:]] == ["MALFORMED_REQUEST", "MODEL_EXISTS"]


def test_commands_with_an_id_wait_for_no_other(supervisor: Supervisor) -> None:
    """Each answer has the id of its command, a wrong one's, too, and comes when that is done."""
    with closing(supervisor.connect()) as client:
        client.sendall(
            b'{"id": 1, "command": "Register", "url": "later"}\n'
            b'{"id": 2, "command": "Register", "url": "there"}\n'
            b'{"id": 3, "command": "Nothing"}\n'
        )
        answers = client.makefile("rb")
        early = [json.loads(answers.readline()) for _ in range(2)]
        assert [(one["id"], one["error"]["reason"]) for one in early] == [
            (2, "MODEL_EXISTS"),
            (3, "MALFORMED_REQUEST"),
        ]
        supervisor.call(Unregister("all"))
        assert json.loads(answers.readline()) == {"id": 1, "ok": {"answered": "late"}}


def test_a_command_without_an_id_holds_up_what_comes_after_it(supervisor: Supervisor) -> None:
    """Ids change nothing for those who have none."""
    with closing(supervisor.connect()) as client:
        client.sendall(b'{"command": "Register", "url": "later"}\n{"id": 2, "command": "ListModels"}\n')
        wait_until(lambda: bool(supervisor.later), "the first command has come")
        supervisor.call(Unregister("all"))
        answers = client.makefile("rb")
        assert [decode_id(answers.readline()) for _ in range(2)] == [None, 2]


@pytest.mark.security(
    endpoint="control",
    attack="40 commands whose answers nobody reads",
    outcome="Fewer than 10 are carried out before answers are read; others are answered",
)
def test_a_client_that_reads_no_answers_is_given_few(supervisor: Supervisor) -> None:
    """However many commands it sends: the supervisor's memory is not a client's. Later it gets the rest."""
    count = 40
    with closing(supervisor.connect()) as client:
        client.sendall(b"".join(encode(ListModels(), number) for number in range(count)))
        wait_until(lambda: bool(supervisor.commands), "a command has come")
        assert supervisor.call(Unregister("all")) == {}
        assert len(supervisor.commands) < 10
        answers = client.makefile("rb")
        assert [decode_id(answers.readline()) for _ in range(count)] == list(range(count))


@pytest.mark.security(
    endpoint="control",
    attack="70 commands at once that take long",
    outcome="64 of a connection are in work, the others wait; other connections are answered",
)
def test_of_commands_that_take_long_64_are_in_work_at_once(supervisor: Supervisor) -> None:
    """Of one connection; the others wait, and are carried out when there is room."""
    with closing(supervisor.connect()) as client:
        client.sendall(b"".join(encode(Register("later"), number) for number in range(70)))
        wait_until(lambda: len(supervisor.later) == 64, "64 are carried out")
        supervisor.call(Unregister("all"))
        wait_until(lambda: len(supervisor.later) == 70, "the others are carried out")


def test_a_connection_of_the_supervisors_own_is_one_more(supervisor: Supervisor) -> None:
    """As a process inherits it; it is closed when the other end is."""
    ours, theirs = socket.socketpair()
    supervisor.adopt(ours)
    with closing(theirs):
        theirs.settimeout(PATIENCE)
        theirs.sendall(encode(Register("there"), 5))
        assert decode_id(theirs.makefile("rb").readline()) == 5
    wait_until(lambda: ours.fileno() < 0, "it is closed")
    assert supervisor.call(ListModels())


def test_a_client_that_leaves_undoes_nothing(supervisor: Supervisor) -> None:
    """Its command is carried out, its answer dropped; others are served."""
    for line in (b'{"command": "Register", "url": "later"}\n', b'{"command": "ListModels"}\n'):
        with closing(supervisor.connect()) as client:
            client.sendall(line)
    wait_until(lambda: len(supervisor.commands) == 2, "both commands have come")
    supervisor.call(Unregister("all"))
    assert supervisor.call(ListModels())["number"] == 4


@pytest.mark.security(
    endpoint="control",
    attack="A line of 4 MiB without an end",
    outcome="Refused before all of it has come; others are answered",
)
def test_a_line_without_an_end_is_refused(supervisor: Supervisor) -> None:
    """The supervisor's memory is not a client's."""
    with closing(supervisor.connect()) as client:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            client.sendall(b"x" * (1 << 22))
        wait_until(lambda: bool(select.select([client], [], [], 0)[0]), "an answer has come")
        assert b"MALFORMED_REQUEST" in client.recv(4096)
    assert supervisor.call(ListModels())


def test_only_a_line_of_its_own_is_too_long(supervisor: Supervisor) -> None:
    """Not the longest accepted one and what comes right behind it, nor many that wait for one before them."""
    padding = LONGEST_LINE - len(encode(Register(""), 1))
    longest = encode(Register("x" * padding), 1)
    assert len(longest) == LONGEST_LINE
    with closing(supervisor.connect()) as client:
        answers = client.makefile("rb")
        client.sendall(longest + encode(Register("there"), 2))
        assert [decode_id(answers.readline()) for _ in range(2)] == [1, 2]
        client.sendall(encode(Register("later")))
        wait_until(lambda: bool(supervisor.later), "the command has come")
        sending = threading.Thread(
            target=client.sendall, args=((longest + encode(Register("there"), 2)) * 3,)
        )
        sending.start()
        supervisor.call(Unregister("all"))
        assert [decode_id(answers.readline()) for _ in range(7)] == [None, *[1, 2] * 3]
        sending.join()


@pytest.mark.security(
    endpoint="control",
    attack="Another user of the machine",
    outcome="The socket is its owner's alone, though the umask is 0",
)
def test_nobody_else_can_open_it(tmp_path: Path) -> None:
    """Whatever the umask is; and it goes with its backend."""
    before = os.umask(0)
    try:
        made = Supervisor(tmp_path / "control.sock")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o600
    made.stop()
    assert not (tmp_path / "control.sock").exists()


def test_the_socket_of_a_killed_backend_is_replaced(tmp_path: Path) -> None:
    """Which has left a file that nobody listens at."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(tmp_path / "control.sock"))
    with pytest.raises(BackendUnavailable, match="Connection refused"):
        call(tmp_path / "control.sock", ListModels(), PATIENCE)
    made = Supervisor(tmp_path / "control.sock")
    assert made.call(ListModels())
    made.stop()


def test_without_a_backend_there_is_no_answer(tmp_path: Path) -> None:
    """The text says what to look at."""
    with pytest.raises(BackendUnavailable, match=r"No such file .*same FACET_STATE_DIR"):
        call(tmp_path / "control.sock", ListModels(), PATIENCE)


def test_a_path_that_is_too_long_for_a_socket_is_said(tmp_path: Path) -> None:
    """By both sides, with the limit; one that is just not too long is none."""
    longest = tmp_path / ("x" * (107 - len(str(tmp_path)) - 1))
    made = Supervisor(longest)
    assert made.call(ListModels())
    made.stop()
    too_long = Path(f"{longest}x")
    for refused in (
        lambda: ControlSocket(lambda *_: None).listen(too_long),
        lambda: call(too_long, ListModels(), 1),
    ):
        with pytest.raises(InvalidSetting, match="108 bytes; accepted for a socket: 107 at most"):
            refused()


def test_patience_ends_without_an_end_of_the_command(supervisor: Supervisor) -> None:
    """Which the text says."""
    with pytest.raises(DeadlineExceeded, match="may be done yet"):
        call(supervisor.path, Register("later"), 0.05)
    wait_until(lambda: bool(supervisor.later), "the command has come")


def test_a_backend_that_ends_has_not_answered(tmp_path: Path) -> None:
    """Nothing is taken for success."""
    made = Supervisor(tmp_path / "control.sock")
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            made.call(Register("later"))
        except BackendUnavailable as error:
            raised.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: bool(made.later), "the command has come")
    made.stop()
    asking.join()
    assert "ended before" in str(raised[0])


def test_an_idle_socket_wakes_nobody(supervisor: Supervisor) -> None:
    """Though clients are connected, one of them with a command that takes long."""
    with closing(supervisor.connect()) as client, closing(supervisor.connect()):
        client.sendall(b'{"command": "Register", "url": "later"}\n')
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: bool(supervisor.later), "the command has come")
        wait_until(lambda: not select.select([supervisor.socket], [], [], 0)[0], "everything is handled")
        assert not select.select([supervisor.socket], [], [], 0.05)[0]
