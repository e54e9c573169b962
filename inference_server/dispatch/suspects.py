"""Pictures that were in hand when a worker died. Two deaths with no success between make one poison."""

from collections import OrderedDict

from utils.errors import WorkerCrashed

DEATHS = 2
FORGET_SECONDS = 600.0
_MOST = 1000


class Suspects:
    """Deaths by the checksum of the picture in hand. Times are of one monotonic clock.

    The event loop writes; the detector thread may ask at any time, and forgets what is too old.

    Attributes:
        heard: How many of the deaths that the page counts are known here.
    """

    def __init__(self) -> None:
        self.heard = 0
        self._deaths: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def hear(self, count: int) -> None:
        """Be told of the death of this number, unless one before it was not told of: then word is missing."""
        if count == self.heard + 1:
            self.heard = count

    def any(self, now: float) -> bool:
        """Whether there is one that is not too old, so that nobody computes checksums for nothing."""
        # A copy: the other thread may forget one meanwhile.
        return bool(self._deaths) and any(self.deaths(checksum, now) for checksum in list(self._deaths))

    def blame(self, checksum: bytes, now: float) -> int:
        """Count a death; gives how many there were, forgetting those that are too old."""
        return self.know(checksum, self.deaths(checksum, now) + 1, now)

    def know(self, checksum: bytes, deaths: int, now: float) -> int:
        """Take over what somebody else has counted."""
        self._deaths.pop(checksum, None)
        self._deaths[checksum] = (deaths, now)
        if len(self._deaths) > _MOST:
            self._deaths.popitem(last=False)
        return deaths

    def clear(self, checksum: bytes) -> bool:
        """Forget one that was computed after all; says whether it was known."""
        return self._deaths.pop(checksum, None) is not None

    def deaths(self, checksum: bytes, now: float) -> int:
        """How many deaths a picture is blamed for."""
        deaths, last = self._deaths.get(checksum, (0, now))
        if now - last > FORGET_SECONDS:
            self._deaths.pop(checksum, None)
            return 0
        return deaths

    def is_poison(self, checksum: bytes, now: float) -> bool:
        """Whether a picture shall not be tried again."""
        return self.deaths(checksum, now) >= DEATHS

    def refuse_poison(self, checksum: bytes, now: float) -> None:
        """Refuse a picture that shall not be tried again.

        Raises:
            WorkerCrashed: It is one.
        """
        if self.is_poison(checksum, now):
            raise WorkerCrashed("Workers crashed on this picture; it is refused for ten minutes.")

    def known(self, now: float) -> dict[bytes, int]:
        """All that are not forgotten, with their deaths."""
        return {checksum: d for checksum in list(self._deaths) if (d := self.deaths(checksum, now))}
