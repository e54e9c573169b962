"""`facet keys list`: which keys there are."""

from pathlib import Path
from typing import Any

import click

from cli.keys.file import in_key_file, keys_in
from cli.text import show_json, show_table
from utils.api_keys import SCOPES, ApiKey


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@in_key_file
def list_keys(path: Path, *, as_json: bool) -> None:
    """List the keys, by what is known of them: no secret is."""
    listed = [_described(key) for key in keys_in(path)]
    if as_json:
        show_json({"keys": listed})
        return
    rows = [("NAME", "SCOPES", "RATE", "BURST", "CREATED")]
    for key in listed:
        rate, burst = ("-", "-") if key["rate"] is None else (f"{key['rate']:g}/s", str(key["burst"]))
        rows.append((key["name"], ",".join(key["scopes"]), rate, burst, key["created"] or "-"))
    show_table(rows)


def _described(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "scopes": [scope for scope in SCOPES if scope in key.scopes],
        "rate": key.rate,
        "burst": key.burst if key.rate is not None else None,
        "created": key.created,
    }
