"""A backend of hooked workers: see tests.hooked_worker."""

import sys

from inference_server.__main__ import main

if __name__ == "__main__":
    sys.exit(main("tests.hooked_worker"))
