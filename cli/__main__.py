"""`python -m cli`: the command line as `bin/facet` runs it."""

import sys

from cli.facet import facet
from utils.streams import open_standard_streams


def main() -> None:
    """Run a command and end the process: with 0, 1 where it failed, 2 where it was not understood."""
    open_standard_streams()
    # A description in a script that the terminal does not have is no reason to fail.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a text file
    facet(prog_name="facet")


if __name__ == "__main__":
    main()
