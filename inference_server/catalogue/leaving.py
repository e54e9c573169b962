"""Versions that are not to serve any longer: what waits for them is finished, then their processes end."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic

from inference_server.catalogue.entries import ModelVersion, State
from inference_server.catalogue.groups import ModelGroup
from inference_server.catalogue.table import AnyGroup

QUIET_SECONDS = 0.1
"""For so long no request must wait: a worker that has read the catalogue before may still send one."""

_POLL_SECONDS = 0.02


def may_serve(version: ModelVersion, group: ModelGroup) -> bool:
    """Whether something may wait for a version, and a process is there for it, or will be."""
    return version.state is State.READY or group.ready_count > 0


def _nothing() -> None:
    """For whom nobody waits."""


@dataclass(slots=True, eq=False)
class Leaving(Generic[AnyGroup]):
    """A version that is published as one that does not serve, or not at all.

    Attributes:
        version: What it was.
        group: Its processes.
        serving: Whether something may wait for it, and a process will take it.
        stays: Whether the group is only scaled to nothing, because the version is IDLE.
        on_quiet: Called once, when nothing waits, and the processes were told to end.
        quiet_since: When it was first seen that nothing waits.
        ending: Whether the processes were told to end.
    """

    version: ModelVersion
    group: AnyGroup
    serving: bool
    stays: bool = False
    on_quiet: Callable[[], None] = _nothing
    quiet_since: float = math.nan
    ending: bool = False

    def end(self) -> None:
        """Tell the processes to end, once."""
        if not self.ending:
            self.ending = True
            if self.stays:
                self.group.scale(0)
            else:
                self.group.retire()
                self.group.forget_poison()  # the same version may come again, and be mended
            self.on_quiet()


class LeavingVersions(Generic[AnyGroup]):
    """All versions that leave.

    Args:
        waiting: How many requests wait in a queue.
        remove_group: Forgets a group that has ended.
    """

    def __init__(self, waiting: Callable[[int], int], remove_group: Callable[[AnyGroup], None]) -> None:
        self._waiting = waiting
        self._remove_group = remove_group
        self._leaving: list[Leaving[AnyGroup]] = []

    def __iter__(self) -> Iterator[Leaving[AnyGroup]]:
        """Those that are in no table any longer, but whose queues are still taken."""
        return (leaving for leaving in self._leaving if not leaving.stays)

    def add(self, leaving: Leaving[AnyGroup]) -> None:
        """Let a version leave; one that cannot finish anything is told to end at once."""
        self._leaving.append(leaving)
        if not leaving.serving:
            leaving.end()

    def cannot_serve(self, group: AnyGroup) -> None:
        """Wait no longer for what no process of this group will take."""
        for leaving in self._leaving:
            if leaving.group is group:
                leaving.end()

    def stop_draining(self, group: AnyGroup) -> None:
        """Forget that this group is to be scaled to nothing: its version serves again, or leaves for good."""
        for leaving in [one for one in self._leaving if one.group is group and one.stays]:
            self._leaving.remove(leaving)
            if not leaving.ending:
                leaving.on_quiet()

    def tick(self, now: float) -> float:
        """Go on with each; gives the seconds until there may be more to do."""
        for leaving in tuple(self._leaving):
            if not leaving.ending and self._is_quiet(leaving, now):
                leaving.end()
            if leaving.ending and (leaving.stays or self._is_over(leaving)):
                self._leaving.remove(leaving)
                if not leaving.stays:
                    self._remove_group(leaving.group)
        return math.inf if all(one.ending for one in self._leaving) else _POLL_SECONDS

    def _is_over(self, leaving: Leaving[AnyGroup]) -> bool:
        """Whether another version may have the queue: what nobody takes waits there while it has time."""
        return leaving.group.is_empty and not self._waiting(leaving.version.queue)

    def _is_quiet(self, leaving: Leaving[AnyGroup], now: float) -> bool:
        if self._waiting(leaving.version.queue):
            leaving.quiet_since = math.nan
        elif math.isnan(leaving.quiet_since):
            leaving.quiet_since = now
        return now - leaving.quiet_since >= QUIET_SECONDS
