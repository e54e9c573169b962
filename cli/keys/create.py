"""`facet keys create`: a new key, whose secret is shown once."""

from pathlib import Path

import click

from cli.failure import Failure
from cli.keys.file import in_key_file, keys_in
from utils.api_keys import KEY_NAME, SCOPES, KeysUnusable, changing, new_key, write_keys


@click.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    required=True,
    help="What the key is for; more than once for several.",
)
@click.option(
    "--rate", type=float, metavar="NUMBER", help="Requests a second in the long run; else any number."
)
@click.option(
    "--burst",
    type=int,
    metavar="NUMBER",
    help="Requests at once, where there is a rate; else those of a second.",
)
@in_key_file
def create(path: Path, name: str, scopes: tuple[str, ...], rate: float | None, burst: int | None) -> None:
    """Make a key and print it.

    It is shown this once: the file has its SHA-256. NAME tells it from others, also in the log. The first key
    makes the file.
    """
    if not KEY_NAME.fullmatch(name):
        raise click.BadParameter(
            "1 to 64 letters, digits, `.`, `_` and `-`, the first no mark", param_hint="NAME"
        )
    try:
        key, secret = new_key(name, scopes, rate, burst)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with changing(path):
        keys = keys_in(path) if path.exists() else ()
        if any(one.name == name for one in keys):
            raise Failure("KEY_EXISTS", f"{path} has a key {name}: revoke it, or choose another name")
        try:
            write_keys(path, (*keys, key))
        except KeysUnusable as error:
            raise Failure("KEY_FILE_UNUSABLE", f"{path}: {error}") from error
    click.echo(secret)
