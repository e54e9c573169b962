"""Text for people and JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

_GAP = "  "


def one_line(text: str) -> str:
    """The text without line ends, or anything else that a terminal acts on: authors of models wrote it."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def show_json(answer: object) -> None:
    """Print JSON of any answer, in ASCII."""
    click.echo(json.dumps(answer, indent=2))


def show_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of equally many cells, the first of them headings, with the columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(one_line(_GAP.join(cells).rstrip()))


def show_details(details: Mapping[str, object]) -> None:
    """Print a line for each detail, leaving out those that say nothing: None and what is empty."""
    there = {name: _text(value) for name, value in details.items() if value not in (None, "", [], {})}
    width = max(map(len, there), default=0)
    for name, text in there.items():
        click.echo(one_line(f"{name.ljust(width)}{_GAP}{text}"))


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case Mapping():
            return ", ".join(f"{name}={_text(one)}" for name, one in value.items())
        case list():
            return ", ".join(map(_text, value))
        case _:
            return str(value)


def duration(seconds: float) -> str:
    """A time in words of two units at most."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def process_text(process: Mapping[str, Any]) -> str:
    """The id and the memory of a process that a backend describes, and what it does unless it serves."""
    state = "" if process["state"] == "ready" else f"{process['state']}, "
    return f"{process['pid']} ({state}{mebibytes(process['memory_bytes'])})"


def mebibytes(size: int) -> str:
    """A size in bytes, in MiB."""
    return f"{size / 2**20:.0f} MiB"
