"""Wait until the gateway finds its backend ready, then say where both are, once."""

import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import click

from utils.settings import Address, Settings

_POLL_SECONDS = 0.2
_REMIND_SECONDS = 15.0


def main() -> None:
    """Poll until ready; `facet serve` ends this process with everything else."""
    settings = Settings.from_environ(os.environ)
    site = f"http://{settings.http_address}"
    started = reminded = time.monotonic()
    while not _ready(f"{site}/readyz"):
        time.sleep(_POLL_SECONDS)
        if time.monotonic() - reminded > _REMIND_SECONDS:
            reminded = time.monotonic()
            click.echo(f"Facet: still starting after {reminded - started:.0f} s ...")
    click.echo(
        f"\nFacet detects faces now.\n"
        f"  HTTP  {site}/predict\n"
        f"  gRPC  {settings.backend}\n"
        f"{_admin(settings.admin_address)}"
        f"Try:    curl -F image=@examples/astronaut.png {site}/predict\n"
        f"Ctrl-C stops it.\n"
    )


def _admin(address: Address | Path | None) -> str:
    """The line that says where the status is; nothing where no browser reaches it."""
    return f"  Admin http://{address}/statusz\n" if isinstance(address, Address) else ""


def _ready(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=2) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 - OK
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
