"""Who may start a process next: few boot at once, so that none keeps another from booting in time."""

from collections.abc import Sequence

from inference_server.supervision.group import Group
from inference_server.supervision.worker_process import State


class BootPlaces:
    """Gives places to processes that boot: each has one until it is ready, or has ended.

    Those of some groups wait for none, and take places, too. Of the others the group whose last start is
    longest ago comes first, so that one which hangs again and again does not keep the others out. Where no
    place is free, one more is for the first process of a group that somebody waits for.

    Args:
        places: How many there are, at least 1.
    """

    def __init__(self, places: int) -> None:
        self._places = places

    def start_processes(self, first: Sequence[Group], models: Sequence[Group]) -> None:
        """Start what the groups lack, as far as there are places.

        Args:
            first: Those whose processes wait for no place.
            models: All others.
        """
        for unhindered in first:
            while unhindered.lacks_process and unhindered.start():
                pass
        candidates = list(models)
        while (group := self._next([*first, *models], candidates)) is not None:
            if not group.start():
                candidates.remove(group)

    def _next(self, all_groups: Sequence[Group], candidates: Sequence[Group]) -> Group | None:
        processes = (process for group in all_groups for process in group.processes)
        booting = sum(process.state is State.STARTING for process in processes)
        lacking = [group for group in candidates if group.lacks_process]
        if booting >= self._places:
            lacking = [group for group in lacking if group.is_urgent and booting == self._places]
        return min(lacking, key=lambda group: group.last_start, default=None)
