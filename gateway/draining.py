"""How the whole gateway goes away behind a load balancer: it says so, and serves on until that is noticed."""

import mmap
import os
import signal
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

STOPPING = "facet.stopping"
"""Where the WSGI environment says whether the whole gateway is about to stop."""

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Farewell:
    """One word of gunicorn's master to all its workers: the whole gateway is about to stop.

    A worker cannot tell from its own signal, which is the same when it alone is replaced.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)  # the same after a fork

    def said(self) -> bool:
        """Whether it was said."""
        return self._memory[0] == 1

    def say_on_sigterm(self, server: Any) -> None:  # noqa: ANN401 - gunicorn's
        """Have the master say it, once its own handlers are in place."""

        def stop(signum: int, frame: FrameType | None) -> None:
            if os.getpid() == server.pid:  # a new worker has this handler, too, until it sets its own
                self._memory[0] = 1
            server.signal(signum, frame)

        signal.signal(signal.SIGTERM, stop)

    def tell(self, application: Application) -> Application:
        """The same application, which finds in its environment whether it was said."""

        def told(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI's
            environ[STOPPING] = self.said()
            return application(environ, start_response)

        return told
