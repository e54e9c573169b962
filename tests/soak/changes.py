"""A client that changes models until it is cut off, and whether the backend has what it acknowledged."""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from inference_server.catalogue import commands
from tests.soak.operators import Way
from tests.support.model_backend import Backend, clients
from utils.errors import BackendUnavailable, FacetError

_MOST_MODELS = 3
_MOST_WORKERS = 2
_NAMES = "echo-"
"""How the names of all models begin that are registered here."""

Models = dict[str, int]
"""How many processes each model has, by its name. All are the built-in model `echo`."""


@dataclass
class Book:
    """What one client has changed: what it was told is done, and what it has not been told of.

    Attributes:
        acknowledged: Models of which the backend has said that they are so.
        asked: As they would be with the change that was under way.
        refused: Changes that the backend refused, though it lived.
        cut_off: Whether a change was not answered.
    """

    acknowledged: Models = field(default_factory=dict)
    asked: Models = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    cut_off: bool = False

    def change(self, way: Way, seed: int, is_over: Callable[[], bool]) -> None:
        """Register, scale and unregister models, until a change is not answered, or it is over."""
        choice = random.Random(seed)
        for number in itertools.count():
            if is_over():
                return
            command, wanted = _next(self.acknowledged, f"{_NAMES}{seed}-{number}", choice)
            self.asked = wanted
            try:
                way(command)
            except FacetError as error:
                self.cut_off = isinstance(error, BackendUnavailable)
                if not self.cut_off:
                    self.refused.append(f"{command}: {error!r}")
                return
            self.acknowledged = wanted

    def compare(self, backend: Backend) -> Iterator[str]:
        """What is wrong with the models that a backend has now; they are those of this book from then on."""
        listed = _listed(backend)
        found = {one["name"]: one["settings"]["min_workers"] for one in listed}
        if found not in (self.acknowledged, self.asked):
            yield f"{found} instead of {self.acknowledged}, or {self.asked}"
        yield from (f"{one['name']} is {one['state']}" for one in listed if one["state"] != "ready")
        yield from (
            f"{one['name']} has {one['ready_workers']} of {one['workers']} processes"
            for one in listed
            if not 0 < one["ready_workers"] <= one["workers"] == found[one["name"]]
        )
        with clients(backend.address, 1, backend.credentials) as [client]:
            yield from (
                f"{name} gives {answer}"
                for name in found
                if (answer := client.predict(name, {"text": name})) != {"text": name}
            )
        self.acknowledged, self.asked = found, found


def is_settled(backend: Backend) -> bool:
    """Whether none of the models that are registered here loads, and none has processes on their way."""
    return all(
        one["state"] != "loading" and one["ready_workers"] == one["workers"] for one in _listed(backend)
    )


def _listed(backend: Backend) -> list[dict[str, Any]]:
    models = backend.manage(commands.ListModels())["models"]
    return [one for one in models if one["name"].startswith(_NAMES)]


def _next(models: Models, new: str, choice: random.Random) -> tuple[commands.ModelCommand, Models]:
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
