"""What the soak found out: a table of events, memory, and everything that is wrong."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.soak.leaks import Footprint
from tests.soak.load import Tally
from tests.soak.scene import ONCE, REVOKED, Event

_HEAD = (
    "event",
    "endpoint",
    "sent",
    "failed",
    "wrong",
    "repeated",
    "401",
    "429",
    "503",
    "twice hit",
    "slowest",
)
MOST_GROWTH = 0.1


@dataclass
class Row:
    """One happening of one event, and what its requests met, by endpoint."""

    event: Event
    tallies: dict[str, Tally]


@dataclass
class Report:
    """The result.

    Attributes:
        rows: In the order of time.
        before: After the first requests, when all was idle.
        after: In the end, when all was idle.
        troubles: What is wrong beside requests.
    """

    rows: list[Row] = field(default_factory=list)
    before: Footprint | None = None
    after: Footprint | None = None
    troubles: list[str] = field(default_factory=list)

    def faults(self, killed: Iterable[str]) -> list[str]:
        """Everything that should not have been.

        Args:
            killed: Checksums of the pictures that were in flight at two deaths, as the log has it.
        """
        known = set(killed)
        found = list(self.troubles)
        for row in self.rows:
            for endpoint, tally in row.tallies.items():
                for trouble in _faults(row.event, endpoint, tally, known):
                    found.append(f"{row.event.name}, {endpoint}: {trouble}")  # noqa: PERF401 - clearer so
        return found

    def growth(self, role: str) -> float:
        """By how much a process of this role has grown, as a share."""
        assert self.before is not None
        assert self.after is not None
        return self.after.megabytes[role] / self.before.megabytes[role] - 1

    def table(self) -> str:
        """Events as lines; what happened more than once is summed up."""
        sums: dict[tuple[str, str], list[Tally]] = {}
        for row in self.rows:
            for endpoint, tally in row.tallies.items():
                sums.setdefault((row.event.name, endpoint), []).append(tally)
        lines = [_HEAD, *(_line(name, endpoint, tallies) for (name, endpoint), tallies in sums.items())]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
        return "\n".join(
            "  ".join(
                text.ljust(width) if column < 2 else text.rjust(width)
                for column, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    def memory(self) -> str:
        """Megabytes of a process of each role, before and after."""
        if self.before is None or self.after is None:
            return ""
        return "\n".join(
            f"{role}: {self.before.megabytes[role]:.1f} MB after the first requests, "
            f"{self.after.megabytes[role]:.1f} MB in the end ({self.growth(role):+.1%})"
            for role in self.before.megabytes
        )


def _line(name: str, endpoint: str, tallies: list[Tally]) -> tuple[str, ...]:
    if len(tallies) > 1:
        name = f"{name} (x{len(tallies)})"
    counts = [
        sum(getattr(tally, column) for tally in tallies)
        for column in ("sent", "failed", "wrong", "repeated", "unknown", "refused", "gone")
    ]
    twice = sum(len(tally.crashed) for tally in tallies)
    slowest = max(tally.slowest for tally in tallies)
    return (name, endpoint, *map(str, counts), str(twice), f"{slowest:.2f} s")


def _faults(event: Event, endpoint: str, tally: Tally, killed: set[str]) -> list[str]:
    found = list(tally.troubles)
    if tally.refused and not event.refuses:
        found.append(f"{tally.refused} refused; the last one: {tally.told}")
    if tally.unknown and endpoint not in REVOKED:
        found.append(f"the key of {tally.unknown} was not known")
    if tally.gone and not event.goes and not (event.leaves and endpoint in ONCE):
        found.append(f"{tally.gone} were told that there is no backend; the last one: {tally.told}")
    if not set(tally.crashed) <= killed:
        found.append(f"WORKER_CRASHED for pictures that were not in flight at two deaths: {tally.crashed}")
    return found
