"""`facet models unregister`, `scale`, `reload`, `default` and `canary`."""

from collections.abc import Mapping
from typing import Any

import click

from cli.models.backend import Backend, asks_backend, prints_json
from cli.text import one_line, show_json
from inference_server.catalogue.commands import Reload, Scale, SetCanary, SetDefault, Unregister


def show_version(version: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a version as a change has left it."""
    if as_json:
        show_json(version)
        return
    workers = "1 worker" if version["workers"] == 1 else f"{version['workers']} workers"
    _say(f"{version['name']} {version['version'] or '-'} is {version['state']} with {workers}")


@click.command()
@click.argument("name")
@click.argument("version", default="")
@asks_backend
@prints_json
def unregister(backend: Backend, name: str, version: str, *, as_json: bool) -> None:
    """Serve a version no longer.

    Without VERSION, the default one. It ends when no request waits for that version.
    """
    answer = backend.ask(Unregister(name, version))
    if as_json:
        show_json(answer)
    else:
        _say(f"{answer['name']} {answer['version'] or '-'} is unregistered")


@click.command()
@click.argument("name")
@click.argument("version", default="")
@click.option("--min", "low", type=int, required=True, help="Processes that run; 0 stops all of them.")
@click.option("--max", "high", type=int, help="An upper bound, kept for protocols that show one.")
@asks_backend
@prints_json
def scale(backend: Backend, name: str, version: str, low: int, high: int | None, *, as_json: bool) -> None:
    """Change how many processes a version has.

    Without VERSION, the default one.
    """
    show_version(backend.ask(Scale(name, version, low, high)), as_json=as_json)


@click.command()
@click.argument("name")
@click.argument("version", default="")
@asks_backend
@prints_json
def reload(backend: Backend, name: str, version: str, *, as_json: bool) -> None:
    """Serve what the store has of a version now.

    Without VERSION, the default one. It ends when all of its processes serve that. Where it cannot be loaded,
    the version is served as before.
    """
    show_version(backend.ask(Reload(name, version)), as_json=as_json)


@click.command()
@click.argument("name")
@click.argument("version")
@asks_backend
@prints_json
def default(backend: Backend, name: str, version: str, *, as_json: bool) -> None:
    """Set the default version.

    It serves the calls that name none.
    """
    answer = backend.ask(SetDefault(name, version))
    if as_json:
        show_json(answer)
    else:
        _say(f"{name} {version} is the default version")


def _weight(text: str) -> tuple[str, int]:
    """Read `VERSION=PERCENT`, of which the backend knows the range."""
    version, _, percent = text.partition("=")
    if not version or not percent.isdecimal():
        raise click.BadParameter(f"{text!r}; accepted: VERSION=PERCENT, such as 1.1=10")
    return version, int(percent)


@click.command()
@click.argument("name")
@click.argument("weights", metavar="[VERSION=PERCENT]...", nargs=-1, type=_weight)
@click.option("--off", is_flag=True, help="Have the default version serve all of them again.")
@asks_backend
@prints_json
def canary(
    backend: Backend, name: str, weights: tuple[tuple[str, int], ...], *, off: bool, as_json: bool
) -> None:
    """Send a share of the calls to other versions.

    It is percents of the calls that name no version, and the default one serves the rest. What is given
    replaces what was. Calls with the same request id get the same version.
    """
    if off == bool(weights):
        raise click.UsageError("either VERSION=PERCENT, once or more, or --off")
    answer = backend.ask(SetCanary(name, dict(weights)))
    if as_json:
        show_json(answer)
    elif off:
        _say(f"{name}: the default version serves all calls that name no version")
    else:
        _say(
            f"{name}: of the calls that name no version, " + ", ".join(f"{p}% go to {v}" for v, p in weights)
        )


def _say(text: str) -> None:
    click.echo(one_line(text))
