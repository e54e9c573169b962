"""Contenders in turn: each a process that does one task when it is told to (benchmarks.contender).

Whatever disturbs the machine disturbs all alike, because each does the same task once in every round, and
the order turns round from one round to the next.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.contenders import environment
from benchmarks.processes import TREE, JsonProcess, started

Answer = dict[str, Any]
Cell = tuple[str, int, int]
"""A drawing, its width and its height."""


class Arena:
    """Processes of contenders, by name.

    Attributes:
        versions: Of those that can run here.
        absent: Why the others cannot.
    """

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self.absent: dict[str, str] = {}
        self._processes: dict[str, JsonProcess] = {}

    @property
    def names(self) -> list[str]:
        """Those that can run here."""
        return list(self._processes)

    def enter(self, name: str, process: JsonProcess) -> None:
        """Take in a contender, or the reason why it is unavailable."""
        said = process.receive()
        if "unavailable" in said:
            self.absent[name] = said["unavailable"]
        else:
            self.versions[name] = said["version"]
            self._processes[name] = process

    def ask(self, name: str, **task: object) -> Answer:
        """Let one do one task."""
        process = self._processes[name]
        process.send(task)
        answer: Answer = process.receive()
        return answer

    def rounds(self, names: Sequence[str], count: int, **task: object) -> dict[str, list[Answer]]:
        """Let all do one task in turn, after a round that does not count."""
        answers: dict[str, list[Answer]] = {name: [] for name in names}
        for number in range(count + 1):
            for name in names[:: 1 if number % 2 else -1]:
                answer = self.ask(name, **task)
                if number:
                    answers[name].append(answer)
        return answers


@contextlib.contextmanager
def arena(names: Iterable[str]) -> Iterator[Arena]:
    """Start the contenders one after another; they end with this."""
    with contextlib.ExitStack() as stack:
        opened = Arena()
        for name in names:
            process = started("benchmarks.contender", name, tree=TREE.get(), **environment(name))
            opened.enter(name, stack.enter_context(process))
        yield opened
