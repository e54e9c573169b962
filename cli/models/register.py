"""`facet models register`."""

import re
import sys

import click

from cli.models.backend import Backend, asks_backend, prints_json
from cli.models.change import show_version
from inference_server.catalogue.commands import Register

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_BYTES = re.compile(r"([0-9]+)([KMG]?)")


def on_terminal() -> bool:
    """Whether somebody watches what is told besides the answer."""
    return sys.stderr.isatty()


def _bytes(text: str) -> int:
    """Read a number of bytes; K, M and G stand for powers of 1024."""
    found = _BYTES.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r}; accepted: a whole number of bytes, or with K, M or G behind it")
    return int(found[1]) * _UNITS[found[2]]


@click.command()
@click.argument("url", metavar="SOURCE")
@click.option("--name", default="", help="What it is served as; else its own name.")
@click.option("--version", default="", help="Which version; else the highest.")
@click.option("--min-workers", type=int, help="Processes that run.")
@click.option("--max-workers", type=int, help="An upper bound, kept for protocols that show one.")
@click.option("--max-batch", type=int, help="Most requests that are computed at once.")
@click.option("--max-batch-delay", type=float, metavar="SECONDS", help="Longest wait for a batch to fill up.")
@click.option(
    "--response-timeout", type=float, metavar="SECONDS", help="Longest time without progress of a request."
)
@click.option("--startup-timeout", type=float, metavar="SECONDS", help="Longest time to load the model.")
@click.option("--nice", type=int, help="By how much the priority of its processes is lowered.")
@click.option(
    "--memory",
    "memory_bytes",
    type=_bytes,
    metavar="BYTES",
    help="Memory that a process may have, such as 4G; one that wants more is replaced.",
)
@click.option("--no-wait", is_flag=True, help="End when the model begins to load, not when it is served.")
@asks_backend
@prints_json
def register(
    backend: Backend,
    url: str,
    name: str,
    version: str,
    *,
    no_wait: bool,
    as_json: bool,
    **settings: float | None,
) -> None:
    """Serve a model.

    SOURCE is NAME or NAME/VERSION, of the store, of an installed package or built in. What no option says is
    as model.toml has it.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    if not no_wait and on_terminal():
        click.echo(f"loading {url} ...", err=True)
    command = Register(url, name, version, given, synchronous=not no_wait)
    show_version(backend.ask(command), as_json=as_json)
