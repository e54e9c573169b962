# ruff: noqa: N999 - gunicorn gives the file its name
"""gateway/gunicorn.conf.py with a master that finds every signal of the second after a SIGTERM at once."""

import runpy
import signal
import time
from typing import Any

_configuration = runpy.run_path("gateway/gunicorn.conf.py")
globals().update({name: value for name, value in _configuration.items() if not name.startswith("_")})


def on_starting(server: Any) -> None:  # noqa: ANN401 - gunicorn's
    """Have it sleep when it has been told to stop, before it looks for further signals."""
    _configuration["on_starting"](server)
    wait_for_signals = server.wait_for_signals

    def wait_for_more(timeout: float = 1.0) -> list[int]:
        signals: list[int] = wait_for_signals(timeout)
        if signal.SIGTERM in signals:
            time.sleep(1)
            signals += wait_for_signals(0.01)
        return signals

    server.wait_for_signals = wait_for_more
