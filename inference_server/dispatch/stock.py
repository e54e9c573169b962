"""A front's envelopes: those of answered requests are filled again, for their memory is there already."""

from inference_server.dispatch.envelope import Envelope, Work

MOST = 4
LARGEST_PICTURE = 2 * 1024**2
"""Bytes. The memory of larger ones is given back."""


class Stock:
    """Envelopes that nobody else has any more."""

    def __init__(self) -> None:
        self._spare: list[Envelope] = []
        self._most = MOST

    def seal(self, work: Work) -> Envelope:
        """Put work into an envelope.

        Raises:
            OSError: There is no memory or no descriptor left.
        """
        if not self._spare:
            return Envelope.seal(work)
        envelope = self._spare.pop()
        try:
            envelope.fill(work)
        except OSError:
            envelope.discard()
            raise
        return envelope

    def take_back(self, envelope: Envelope, size: int, *, alone: bool) -> None:
        """Take an envelope whose request is over, with what is in it.

        Args:
            envelope: The envelope.
            size: Of the picture in it, in bytes.
            alone: Nobody else can have it, or get it from the queue; else it is not used again.
        """
        if alone and size <= LARGEST_PICTURE and len(self._spare) < self._most:
            self._spare.append(envelope)
        else:
            envelope.discard()

    def close(self) -> None:
        """Give all of it up, and what is taken back later."""
        self._most = 0
        while self._spare:
            self._spare.pop().discard()
