"""The lock on an address: a name among the abstract Unix sockets, which one process of the machine can have.

It goes with the process that holds it, and any user may take any name; so who holds it can be asked for.
"""

import contextlib
import errno
import pwd
import socket
import struct
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group
_ASKING_AT_ONCE = 128
_LONGEST_COMMAND = 200


class LockHeld(Exception):
    """Another process has the lock; the message names it, as far as this user may know."""


def hold(name: str) -> socket.socket:
    """Take the lock of this name; closing it frees it.

    Raises:
        LockHeld: Another process has it.
        OSError: It cannot be had for another reason.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(f"\0{name}")
        lock.listen(_ASKING_AT_ONCE)  # nobody is answered: the kernel says whose it is
        lock.setblocking(False)
    except OSError as error:
        lock.close()
        if error.errno == errno.EADDRINUSE:
            raise LockHeld(f"the abstract socket @{name} is held by {_holder(name)}") from error
        raise
    return lock


def close_connections(lock: socket.socket) -> None:
    """Close the connections of those that have asked who holds the lock: there is room for few of them."""
    with contextlib.suppress(OSError):  # there is none, or no file descriptor for one, which stays
        for _ in range(_ASKING_AT_ONCE):
            lock.accept()[0].close()


def _holder(name: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect(f"\0{name}")
        except OSError:  # it does not listen, or is asked by too many
            return "a process that only root can find, by `ss -xap`"
        asked = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(asked)
    user = str(uid)
    with contextlib.suppress(KeyError):
        user = pwd.getpwuid(uid).pw_name
    if pid == 0:
        return f"a process of user {user} in another container"
    command = ""
    with contextlib.suppress(OSError):  # hidden, or it has ended meanwhile
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")[:_LONGEST_COMMAND]
    # Anybody's words: they must not break the line, nor be commands to a terminal.
    shown = "".join(letter if letter.isprintable() else " " for letter in command).strip()
    return f"process {pid} of user {user}" + (f" ({shown})" if shown else "")
