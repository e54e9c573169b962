"""A request and its answer, in one file in memory (memfd) that travels between workers by descriptor.

```
   claim │ cancelled │ answered │ deadline, ... │ context │ picture │ ... │ answers
```

The words are written one by one, and all of the head is read at once: each system call lets go of Python's
lock, which the detector thread may have to wait for again. Each worker that answers writes into a region of
its own, so that two that computed the same request cannot mix their answers; the last word written says
whose is complete, and whether it is the outcome of the whole computation.
"""

import errno
import hashlib
import os
import struct
from dataclasses import dataclass
from typing import NamedTuple

from inference_server.dispatch.page import CHECKSUM_BYTES

_WORD = struct.Struct("=Q")
_CLAIM, _CANCELLED, _ANSWERED = 0, 8, 16
_HEAD = struct.Struct("=QQQddddQQ")
_CONTENT_AT = _HEAD.size
_COMPUTED = 1 << 63

# The file is sparse: regions that far apart cost nothing until they are written.
_REGION = 1 << 32


class Abandoned(Exception):
    """Nobody wants the answer any more."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a detector is to do.

    Attributes:
        context: Everything but the picture, in the form that the two ends agreed on.
        picture: The encoded picture.
        megapixels: To search, as admission counts them.
        received: When its front received it, of the monotonic clock.
        deadline: When its answer is no longer wanted.
        unseen: Seconds at its beginning in which it may show no progress.
    """

    context: bytes
    picture: bytes
    megapixels: float
    received: float
    deadline: float
    unseen: float = 0.0

    def checksum(self) -> bytes:
        """What the picture is known by: the SHA-256 of its encoded bytes."""
        return checksum_of(self.picture)


def checksum_of(picture: bytes) -> bytes:
    """The SHA-256 of an encoded picture."""
    checksum = hashlib.sha256(picture).digest()
    assert len(checksum) == CHECKSUM_BYTES
    return checksum


class Head(NamedTuple):
    """What an envelope says beside its contents.

    Attributes:
        claimed_by: Slot and generation of the worker that has it in hand, or had.
        cancelled: Nobody wants the answer.
        answered: There is an answer already.
        deadline: As `Work` has it, and so are the next two.
        received: See there.
        megapixels: See there.
        unseen: See there.
        sizes: Bytes of the context, and of the picture.
    """

    claimed_by: tuple[int, int] | None
    cancelled: bool
    answered: bool
    deadline: float
    received: float
    megapixels: float
    unseen: float
    sizes: tuple[int, int]


class Answer(NamedTuple):
    """An answer, and whether it is the outcome of the whole computation, and not of a lack of time."""

    content: bytes
    computed: bool


class Envelope:
    """One end's view on it. Close it when done; the memory is freed with the last descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def seal(cls, work: Work) -> "Envelope":
        """Put work into a new envelope.

        Raises:
            OSError: There is no memory or no descriptor left.
        """
        envelope = cls(os.memfd_create("facet-request", os.MFD_CLOEXEC))
        try:
            envelope.fill(work)
        except OSError:
            envelope.close()
            raise
        return envelope

    def fill(self, work: Work) -> None:
        """Put work in; what was there before is over.

        Raises:
            OSError: There is no memory left.
        """
        about = (work.deadline, work.received, work.megapixels, work.unseen)
        sizes = (len(work.context), len(work.picture))
        parts = [_HEAD.pack(0, 0, 0, *about, *sizes), work.context, work.picture]
        written = os.pwritev(self.descriptor, parts, 0)
        if written != sum(map(len, parts)):  # a file in memory takes all, or there is no memory
            raise OSError(errno.ENOMEM, "the request does not fit into memory")

    def close(self) -> None:
        """Give up this end."""
        os.close(self.descriptor)

    # --- the front's ---

    def cancel(self) -> None:
        """Say that nobody wants the answer."""
        self._write(_CANCELLED, 1)

    def discard(self) -> None:
        """Give up this end, and the memory: the queue may hold the envelope of a request that is over."""
        os.ftruncate(self.descriptor, _CONTENT_AT)
        self.close()

    def answer(self) -> Answer | None:
        """The answer, once there is one."""
        answered = self._read(_ANSWERED)
        if not answered:
            return None
        computed, place = bool(answered & _COMPUTED), answered & ~_COMPUTED
        content = os.pread(self.descriptor, place & 0xFFFFFFFF, _REGION * (place >> 32))
        return Answer(content, computed)

    # --- both ---

    def head(self) -> Head:
        """Everything but the contents."""
        head = os.pread(self.descriptor, _HEAD.size, 0)
        claim, cancelled, answered, deadline, received, megapixels, unseen, *sizes = _HEAD.unpack(head)
        return Head(
            claimed_by=((claim >> 48) - 1, claim & 0xFFFFFFFFFFFF) if claim else None,
            cancelled=bool(cancelled),
            answered=bool(answered),
            deadline=deadline,
            received=received,
            megapixels=megapixels,
            unseen=unseen,
            sizes=(sizes[0], sizes[1]),
        )

    # --- the consumer's ---

    def claim(self, slot: int, generation: int) -> None:
        """Say who has it in hand."""
        self._write(_CLAIM, (slot + 1) << 48 | generation)

    def put_back(self) -> None:
        """Say that nobody has it in hand."""
        self._write(_CLAIM, 0)

    def is_cancelled(self) -> bool:
        """Whether nobody wants the answer."""
        return bool(self._read(_CANCELLED))

    def open(self, head: Head) -> Work:
        """Take out what is to be done.

        Raises:
            Abandoned: Its front has discarded it in the meantime.
        """
        before = _CONTENT_AT + head.sizes[0]
        context = os.pread(self.descriptor, head.sizes[0], _CONTENT_AT)
        picture = os.pread(self.descriptor, head.sizes[1], before)
        if (len(context), len(picture)) != head.sizes:
            raise Abandoned
        return Work(
            context=context,
            picture=picture,
            megapixels=head.megapixels,
            received=head.received,
            deadline=head.deadline,
            unseen=head.unseen,
        )

    def reply(self, slot: int, answer: bytes, *, computed: bool) -> None:
        """Put the answer in, then say that it is there."""
        region = slot + 1
        os.pwrite(self.descriptor, answer, _REGION * region)
        self._write(_ANSWERED, region << 32 | len(answer) | (_COMPUTED if computed else 0))

    def _read(self, place: int) -> int:
        value: int = _WORD.unpack(os.pread(self.descriptor, _WORD.size, place))[0]
        return value

    def _write(self, place: int, value: int) -> None:
        os.pwrite(self.descriptor, _WORD.pack(value), place)
