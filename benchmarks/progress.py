"""What is going on, on standard error: a bar on a terminal, else a line every ten seconds."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

_BAR = 30
_LINE_SECONDS = 10.0


@contextlib.contextmanager
def step(what: str, seconds: float) -> Iterator[None]:
    """Show that something goes on that takes about so many seconds."""
    done = threading.Event()
    shower = threading.Thread(target=_show, args=(what, seconds, done), daemon=True)
    shower.start()
    try:
        yield
    finally:
        done.set()
        shower.join()


def _show(what: str, seconds: float, done: threading.Event) -> None:
    started = time.monotonic()
    terminal = sys.stderr.isatty()
    while True:
        elapsed = time.monotonic() - started
        _write(f"{what:56} {_bar(elapsed, seconds)} {elapsed:4.0f} of {seconds:.0f} s", terminal)
        if done.wait(0.2 if terminal else _LINE_SECONDS):
            break
    _write(f"{what:56} {_bar(1, 1)} {time.monotonic() - started:4.0f} s", terminal)
    if terminal:
        print(file=sys.stderr)


def _bar(elapsed: float, seconds: float) -> str:
    full = round(_BAR * min(elapsed / max(seconds, 0.001), 1))
    return "█" * full + "░" * (_BAR - full)


def _write(text: str, terminal: bool) -> None:
    print(f"\r{text}\033[K" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)
