"""A group whose processes can be exchanged for some that are started otherwise."""

from inference_server.supervision.group import Group
from inference_server.supervision.liveness import Times
from inference_server.supervision.starter import Spawn
from inference_server.supervision.worker_process import State


class ExchangeableGroup(Group):
    """A group whose owner may have all of its processes replaced by others than before.

    The owner decides by the first of the new ones, or by the failure of one, whether they are kept.
    """

    def exchange(self, spawn: Spawn, times: Times) -> None:
        """Replace all processes by some that this starts, each told to stop when another is ready.

        Those that have not been ready yet are ended. Called again before an exchange was kept or undone, it
        replaces the new ones, too.
        """
        self._retire([process for process in self.processes if process.state is State.STARTING])
        self._starter.exchange(spawn, times, self.processes)
        self.is_urgent = True

    def keep_exchange(self) -> None:
        """Start processes in the new way from now on, whatever comes."""
        self._starter.keep_exchange()

    def undo_exchange(self) -> None:
        """End the new processes, and start some as before, unless the exchange was kept."""
        self._retire(self._starter.undo_exchange(self.processes))

    @property
    def is_exchanged(self) -> bool:
        """Whether all processes serve, and none is left of before the last exchange."""
        return self.ready_count >= self.wanted and not any(map(self._starter.is_replaced, self.processes))

    def forget_poison(self) -> None:
        """Have what was in flight when its processes died refused no longer."""
        self._liveness.forget_poison()
