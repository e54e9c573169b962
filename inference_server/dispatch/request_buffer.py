"""A request and its answer, in one file in memory (memfd) that travels between workers by descriptor.

```
   claim │ cancelled │ answered │ deadline, ... │ model, operation, context │ payload │ ... │ answers
```

The words are written one by one, and all of the head is read at once: each system call lets go of Python's
lock, which the consumer thread may have to wait for again. Each worker that answers writes into a region of
its own, so that two that computed the same request cannot mix their answers; the last word written says
whose is complete.
"""

import errno
import os
import struct
from typing import NamedTuple

from inference_server.dispatch.work import Work

_WORD = struct.Struct("=Q")
_CLAIM, _CANCELLED, _ANSWERED = 0, 8, 16
_HEAD = struct.Struct("=QQQddddQQQQQ")
_CONTENT_AT = _HEAD.size

# The file is sparse: regions that far apart cost nothing until they are written.
_REGION = 1 << 32

MOST_SPARE = 4
LARGEST_SPARE = 2 * 1024**2
"""Bytes of payload. The memory of larger ones is given back."""


class Abandoned(Exception):
    """Nobody wants the answer any more."""


class Head(NamedTuple):
    """What a buffer says beside its contents.

    Attributes:
        claimed_by: Slot and generation of the worker that has it in flight, or had.
        cancelled: Nobody wants the answer.
        answered: There is an answer already.
        deadline: As `Work` has it, and so are received, cost, grace and queue.
        sizes: Bytes of model, operation, context and payload.
    """

    claimed_by: tuple[int, int] | None
    cancelled: bool
    answered: bool
    deadline: float
    received: float
    cost: float
    grace: float
    queue: int
    sizes: tuple[int, ...]


class RequestBuffer:
    """One end's view on it. Close it when done; the memory is freed with the last descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def create(cls, work: Work) -> "RequestBuffer":
        """Put work into a new buffer.

        Raises:
            OSError: There is no memory or no descriptor left.
        """
        buffer = cls(os.memfd_create("facet-request", os.MFD_CLOEXEC))
        try:
            buffer.fill(work)
        except OSError:
            buffer.close()
            raise
        return buffer

    def fill(self, work: Work) -> None:
        """Put work in; what was there before is over.

        Raises:
            OSError: There is no memory left.
        """
        content = [work.model.encode(), work.operation.encode(), work.context, work.payload]
        sizes = [len(part) for part in content]
        about = (work.deadline, work.received, work.cost, work.grace, work.queue)
        written = os.pwritev(self.descriptor, [_HEAD.pack(0, 0, 0, *about, *sizes), *content], 0)
        if written != _CONTENT_AT + sum(sizes):  # a file in memory takes all, or there is no memory
            raise OSError(errno.ENOMEM, "the request does not fit into memory")

    def close(self) -> None:
        """Give up this end."""
        os.close(self.descriptor)

    # --- the dispatcher's ---

    def cancel(self) -> None:
        """Say that nobody wants the answer."""
        self._write(_CANCELLED, 1)

    def discard(self) -> None:
        """Give up this end, and the memory: the queue may hold the buffer of a request that is over."""
        os.ftruncate(self.descriptor, _CONTENT_AT)
        self.close()

    def answer(self) -> bytes | None:
        """The answer, once there is one."""
        answered = self._read(_ANSWERED)
        if not answered:
            return None
        return os.pread(self.descriptor, answered & 0xFFFFFFFF, _REGION * (answered >> 32))

    # --- both ---

    def head(self) -> Head:
        """Everything but the contents."""
        words = _HEAD.unpack(os.pread(self.descriptor, _HEAD.size, 0))
        claim, cancelled, answered, deadline, received, cost, grace, queue, *sizes = words
        return Head(
            claimed_by=((claim >> 48) - 1, claim & 0xFFFFFFFFFFFF) if claim else None,
            cancelled=bool(cancelled),
            answered=bool(answered),
            deadline=deadline,
            received=received,
            cost=cost,
            grace=grace,
            queue=queue,
            sizes=tuple(sizes),
        )

    # --- the consumer's ---

    def claim(self, slot: int, generation: int) -> None:
        """Say who has it in flight."""
        self._write(_CLAIM, (slot + 1) << 48 | generation)

    def unclaim(self) -> None:
        """Say that nobody has it in flight."""
        self._write(_CLAIM, 0)

    def is_cancelled(self) -> bool:
        """Whether nobody wants the answer."""
        return bool(self._read(_CANCELLED))

    def read(self, head: Head) -> Work:
        """Take out what is to be done.

        Raises:
            Abandoned: Its dispatcher has discarded it in the meantime.
        """
        model, operation, context, _ = head.sizes
        named = model + operation
        before = named + context
        content = os.pread(self.descriptor, before, _CONTENT_AT)
        payload = os.pread(self.descriptor, head.sizes[3], _CONTENT_AT + before)
        if len(content) + len(payload) != sum(head.sizes):
            raise Abandoned
        return Work(
            model=content[:model].decode(),
            operation=content[model:named].decode(),
            context=content[named:],
            payload=payload,
            cost=head.cost,
            received=head.received,
            deadline=head.deadline,
            grace=head.grace,
            queue=head.queue,
        )

    def reply(self, slot: int, answer: bytes) -> None:
        """Put the answer in, then say that it is there."""
        region = slot + 1
        os.pwrite(self.descriptor, answer, _REGION * region)
        self._write(_ANSWERED, region << 32 | len(answer))

    def _read(self, place: int) -> int:
        value: int = _WORD.unpack(os.pread(self.descriptor, _WORD.size, place))[0]
        return value

    def _write(self, place: int, value: int) -> None:
        os.pwrite(self.descriptor, _WORD.pack(value), place)


class BufferPool:
    """A dispatcher's buffers of answered requests, to be filled again, for their memory is there already."""

    def __init__(self) -> None:
        self._spare: list[RequestBuffer] = []
        self._most = MOST_SPARE

    def acquire(self, work: Work) -> RequestBuffer:
        """Put work into a buffer.

        Raises:
            OSError: There is no memory or no descriptor left.
        """
        if not self._spare:
            return RequestBuffer.create(work)
        buffer = self._spare.pop()
        try:
            buffer.fill(work)
        except OSError:
            buffer.discard()
            raise
        return buffer

    def release(self, buffer: RequestBuffer, size: int, *, alone: bool) -> None:
        """Take a buffer whose request is over, with what is in it.

        Args:
            buffer: The buffer.
            size: Of the payload in it, in bytes.
            alone: Nobody else can have it, or get it from the queue; else it is not used again.
        """
        if alone and size <= LARGEST_SPARE and len(self._spare) < self._most:
            self._spare.append(buffer)
        else:
            buffer.discard()

    def close(self) -> None:
        """Give all of it up, and what is taken back later."""
        self._most = 0
        while self._spare:
            self._spare.pop().discard()
