"""The models' files, made where they are missing before the first worker starts; loads nothing of a model."""

import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path

from inference_server.detector.weights import models_ready
from utils.logs import fields

logger = logging.getLogger(__name__)


def prepare(cache_dir: Path) -> str | None:
    """Fill the cache of converted models where it is missing or damaged; gives the reason of a failure.

    A process of its own does it, because it unpickles and loads much that nobody needs afterwards.
    """
    if models_ready(cache_dir):
        return None
    logger.info("converting the models", extra=fields(cache_dir=str(cache_dir)))
    if threading.current_thread() is threading.main_thread():  # the only one that may say what signals do
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda _signum, _frame: sys.exit(0))  # which ends the converter, too
    command = [sys.executable, "-m", "inference_server.detector.convert", str(cache_dir)]
    converter = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if converter.returncode == 0:
        return None
    sys.stderr.write(converter.stderr)
    return (converter.stderr.strip().splitlines() or ["the models cannot be converted"])[-1]
