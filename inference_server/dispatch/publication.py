"""What the supervisor tells all workers at once: some bytes and their generation, in a file in memory.

```
   generation, length │ ... │ content of an even generation │ ... │ content of an odd one
```

The first word is mapped, so to see whether something new was published costs no system call. The supervisor
writes a content to the place that readers of the last one do not look at, and then the word. So a reader who
finds the word unchanged after it has read the content has read it whole.
"""

import errno
import mmap
import os

_WORD_BYTES = 8
_LENGTH_BITS = 32  # of the word; the others are the generation

# The file is sparse: places that far apart cost nothing until they are written.
_PLACE = 1 << _LENGTH_BITS


class Publication:
    """One process's view on it.

    Args:
        descriptor: Of the file, which `create` has made, in this process or in its parent.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._word = memoryview(mmap.mmap(descriptor, _WORD_BYTES)).cast("Q")

    @classmethod
    def create(cls) -> "Publication":
        """Make an empty one, of generation 0."""
        descriptor = os.memfd_create("facet-publication", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _WORD_BYTES)
        return cls(descriptor)

    @property
    def generation(self) -> int:
        """How many contents have been published."""
        return self._word[0] >> _LENGTH_BITS

    def publish(self, content: bytes) -> int:
        """Replace the content, and give its generation; for one process alone, the supervisor.

        Raises:
            OSError: There is no memory left; what was published before stays.
        """
        generation = self.generation + 1
        written = os.pwrite(self.descriptor, content, _place_of(generation))
        if written != len(content):  # a file in memory takes all, or there is no memory
            raise OSError(errno.ENOMEM, "what is published does not fit into memory")
        self._word[0] = generation << _LENGTH_BITS | len(content)
        return generation

    def read(self) -> tuple[int, bytes]:
        """The generation, and the content that was published as this one."""
        while True:
            word = self._word[0]
            generation, length = word >> _LENGTH_BITS, word & (_PLACE - 1)
            content = os.pread(self.descriptor, length, _place_of(generation))
            if self._word[0] == word:
                return generation, content


def _place_of(generation: int) -> int:
    return _PLACE * (1 + generation % 2)
