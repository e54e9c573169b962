"""`facet keys revoke`: a key counts no more."""

from pathlib import Path

import click

from cli.failure import Failure
from cli.keys.file import in_key_file, keys_in
from utils.api_keys import changing, write_keys


@click.command()
@click.argument("name")
@in_key_file
def revoke(path: Path, name: str) -> None:
    """Revoke a key.

    Whoever calls by it is refused within a second, wherever the file is read.
    """
    with changing(path):
        keys = keys_in(path)
        kept = [key for key in keys if key.name != name]
        if len(kept) == len(keys):
            raise Failure("KEY_NOT_FOUND", f"{path} has no key {name}")
        write_keys(path, kept)
    click.echo(f"{name} is revoked")
