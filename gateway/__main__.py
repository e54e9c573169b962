"""`python -m gateway`: the gateway under gunicorn, as `gunicorn.conf.py` beside this file has it.

What else gunicorn takes on its command line may follow. Settings come from the environment: docs/settings.md.
"""

import sys
from pathlib import Path

from gunicorn.app.wsgiapp import run


def main() -> None:
    """Run the gateway until it is told to stop; ends the process."""
    sys.argv[1:1] = ["--config", str(Path(__file__).with_name("gunicorn.conf.py"))]
    run(prog="python -m gateway")


if __name__ == "__main__":
    main()
