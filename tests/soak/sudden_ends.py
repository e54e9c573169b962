"""A backend whose supervisor is killed amid changes of its models has again what it has acknowledged."""

import random
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.soak.changes import Book
from tests.soak.operators import Way, admin_http
from tests.support.credentials import NOTHING
from tests.support.model_backend import Backend, model_backend
from tests.support.processes import PATIENCE, alive, wait_until

_LONGEST_SECONDS = 3.0
_SETTINGS = {"FACET_WORKERS": "1", "FACET_ADMIN_ADDRESS": "127.0.0.1:0"}


def sudden_ends(folder: Path, count: int, say: Callable[[str], None]) -> list[str]:
    """Start a backend, have a client change its models, and kill it, so often; gives what is wrong.

    The changes come by the command line and by the admin process in turn.

    Args:
        folder: For the backend's state.
        count: How often.
        say: Told what happens.
    """
    book, choice, faults = Book(), random.Random(0), list[str]()
    for number in range(count):
        with model_backend(folder, **_SETTINGS) as backend:
            faults += [f"sudden end {number}: {fault}" for fault in book.compare(backend)]
            name, way = ("the command line", backend.manage) if number % 2 else ("HTTP", _by_http(backend))
            changes = threading.Thread(target=book.change, args=(way, choice.randrange(2**32), lambda: False))
            changes.start()
            threading.Event().wait(choice.uniform(0, _LONGEST_SECONDS))
            if not changes.is_alive():
                faults.append(f"sudden end {number}: the changes ended before it")
            family = backend.process.children()
            backend.process.send(signal.SIGKILL)
            backend.process.wait()
            changes.join(PATIENCE)
            wait_until(lambda family=family: not any(map(alive, family)), "all processes are gone")  # type: ignore[misc]
        told = f"{book.acknowledged} acknowledged, {book.asked} asked for"
        say(f"sudden end {number + 1}, changes by {name}: {told}")
    with model_backend(folder, **_SETTINGS) as backend:
        faults += [f"in the end: {fault}" for fault in book.compare(backend)]
    return faults + book.refused


def _by_http(backend: Backend) -> Way:
    [ready] = backend.process.logged("ready")
    return partial(admin_http, ready["admin_address"], NOTHING)
