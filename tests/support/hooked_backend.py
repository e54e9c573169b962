"""A backend of hooked workers: see tests.support.hooked_worker.

TEST_LONGEST_DELAY is the longest time in seconds between a crash and the next start of a worker, so that a
dozen deaths fit into a minute.
"""

import os
import sys

from inference_server.backend import run
from inference_server.supervision import backoff

if __name__ == "__main__":
    backoff.LONGEST_DELAY_SECONDS = float(os.environ.get("TEST_LONGEST_DELAY", backoff.LONGEST_DELAY_SECONDS))
    sys.exit(run("tests.support.hooked_worker"))
