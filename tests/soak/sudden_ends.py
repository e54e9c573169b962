"""A backend whose supervisor is killed amid changes of its models has again what it has acknowledged."""

import itertools
import random
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from inference_server.catalogue import commands
from inference_server.catalogue.names import FACE_DETECTION
from tests.support.model_backend import Backend, clients, model_backend
from tests.support.processes import PATIENCE, alive, wait_until
from utils.errors import BackendUnavailable, FacetError

_LONGEST_SECONDS = 3.0
_MOST_MODELS = 3
_MOST_WORKERS = 2

Models = dict[str, int]
"""How many processes each model has, by its name. All are the built-in model `echo`."""


@dataclass
class Book:
    """What one client has changed: what it was told is done, and what it has not been told of.

    Attributes:
        acknowledged: Models of which the backend has said that they are so.
        asked: As they would be with the change that was under way.
        refused: Changes that the backend refused, though it lived.
    """

    acknowledged: Models = field(default_factory=dict)
    asked: Models = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def sudden_ends(folder: Path, count: int, say: Callable[[str], None]) -> list[str]:
    """Start a backend, have a client change its models, and kill it, so often; gives what is wrong.

    Args:
        folder: For the backend's state.
        count: How often.
        say: Told what happens.
    """
    book, choice, faults = Book(), random.Random(0), list[str]()
    for number in range(count):
        with model_backend(folder, FACET_WORKERS="1") as backend:
            faults += [f"sudden end {number}: {fault}" for fault in _compared(backend, book)]
            changes = threading.Thread(target=_change, args=(backend, book, choice.randrange(2**32)))
            changes.start()
            threading.Event().wait(choice.uniform(0, _LONGEST_SECONDS))
            if not changes.is_alive():
                faults.append(f"sudden end {number}: the changes ended before it")
            family = backend.process.children()
            backend.process.send(signal.SIGKILL)
            backend.process.wait()
            changes.join(PATIENCE)
            wait_until(lambda family=family: not any(map(alive, family)), "all processes are gone")  # type: ignore[misc]
        say(f"sudden end {number + 1}: {book.acknowledged} acknowledged, {book.asked} asked for")
    with model_backend(folder, FACET_WORKERS="1") as backend:
        faults += [f"in the end: {fault}" for fault in _compared(backend, book)]
    return faults + book.refused


def _compared(backend: Backend, book: Book) -> Iterator[str]:
    """What is wrong with the models of a backend that has started again."""
    listed = [one for one in backend.manage(commands.ListModels())["models"] if one["name"] != FACE_DETECTION]
    found = {one["name"]: one["settings"]["min_workers"] for one in listed}
    if found not in (book.acknowledged, book.asked):
        yield f"{found} instead of {book.acknowledged}, or {book.asked}"
    yield from (f"{one['name']} is {one['state']}" for one in listed if one["state"] != "ready")
    yield from (
        f"{one['name']} has {one['ready_workers']} of {one['workers']} processes"
        for one in listed
        if not 0 < one["ready_workers"] <= one["workers"] == found[one["name"]]
    )
    with clients(backend.address, 1) as [client]:
        yield from (
            f"{name} gives {answer}"
            for name in found
            if (answer := client.predict(name, {"text": name})) != {"text": name}
        )
    book.acknowledged, book.asked = found, found


def _change(backend: Backend, book: Book, seed: int) -> None:
    """Register, scale and unregister models, until the backend is gone."""
    choice = random.Random(seed)
    for number in itertools.count():
        command, wanted = _next(book.acknowledged, f"echo-{seed}-{number}", choice)
        book.asked = wanted
        try:
            backend.manage(command)
        except FacetError as error:
            if not isinstance(error, BackendUnavailable):
                book.refused.append(f"{command}: {error!r}")
            return
        book.acknowledged = wanted


def _next(models: Models, new: str, choice: random.Random) -> tuple[commands.Command, Models]:
    """A change, and what it makes of the models."""
    what = choice.choice(("register", "scale", "unregister")) if models else "register"
    if what == "register" and len(models) < _MOST_MODELS:
        workers = choice.randint(1, _MOST_WORKERS)
        command = commands.Register("echo", new, "", {"min_workers": workers})
        return command, {**models, new: workers}
    name = choice.choice(sorted(models))
    if what == "scale":
        workers = choice.randint(1, _MOST_WORKERS)
        return commands.Scale(name, "", workers, workers), {**models, name: workers}
    return commands.Unregister(name), {each: count for each, count in models.items() if each != name}
