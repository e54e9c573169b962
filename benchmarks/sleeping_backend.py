"""Facet's backend, with workers whose detector sleeps: see benchmarks.sleeping_worker."""

import sys

from inference_server.__main__ import main

if __name__ == "__main__":
    sys.exit(main("benchmarks.sleeping_worker"))
