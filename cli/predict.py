"""`facet predict`: have a model of a service answer one input."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from cli.service import calls_service, connect
from cli.text import show_json


def _files(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict[str, Path]:
    """Each NAME=PATH."""
    files = {}
    for one in given:
        name, separator, path = one.partition("=")
        if not name or not separator or not Path(path).is_file():
            raise click.BadParameter(f"{one!r} is not NAME=PATH, where PATH is a file")
        files[name] = Path(path)
    return files


@click.command()
@click.argument("model")
@click.argument("document", metavar="[JSON]", default="")
@click.option(
    "--file",
    "files",
    multiple=True,
    metavar="NAME=PATH",
    callback=_files,
    help="Take the bytes of a file for a member of the input; more than once for several.",
)
@click.option("--version", default="", help="Which one; else the default one.")
@calls_service
def predict(
    model: str,
    document: str,
    *,
    files: dict[str, Path],
    version: str,
    address: str | None,
    timeout: float,
) -> None:
    """Have a model answer an input, and print its output.

    JSON is an object with the members of the input, or - to read it from standard input. It may be left out
    where files are all that the model takes.
    """
    if not document and not files:
        raise click.UsageError("There is no input: neither JSON nor --file.")
    inputs = _object(sys.stdin.read() if document == "-" else document or "{}")
    inputs |= {name: path.read_bytes() for name, path in files.items()}
    with connect(address, timeout) as client:
        show_json(client.predict(model, inputs, version=version))


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"it is no JSON: {error}", param_hint="JSON") from error
    if not isinstance(found, dict):
        raise click.BadParameter("it is no JSON object", param_hint="JSON")
    return found
