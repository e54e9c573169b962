"""Whether a file has changed since it was looked at."""

from pathlib import Path

FileState = tuple[int, ...]
"""What is different once a file was written, replaced, or given other rights."""


def state_of(path: Path) -> FileState | None:
    """The state of a file; None where it cannot be seen."""
    try:
        about = path.stat()
    except OSError:
        return None
    return (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
