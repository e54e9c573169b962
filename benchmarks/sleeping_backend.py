"""Facet's backend, with workers whose detector sleeps: see benchmarks.sleeping_worker."""

import sys

from inference_server.backend import run

if __name__ == "__main__":
    sys.exit(run("benchmarks.sleeping_worker"))
