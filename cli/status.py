"""`facet status`: the processes, queues and models of the backend on this machine."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from cli.models.backend import Backend, asks_backend, prints_json
from cli.text import duration, mebibytes, process_text, show_details, show_json, show_table
from inference_server.catalogue.commands import Status

_SHOWN_FAILURES = 5


@click.command()
@asks_backend
@prints_json
def status(backend: Backend, *, as_json: bool) -> None:
    """Show the backend's processes and queues, its engine, and what failed lately."""
    answer = backend.ask(Status())
    if as_json:
        show_json(answer)
        return
    show_details(_details(answer))
    click.echo()
    show_table([("GROUP", "READY", "WAITING", "PROCESSES"), *map(_group, answer["groups"])])
    failed = [model for model in answer["models"] if model["failure"]]
    for model in failed:
        click.echo(f"\n{model['name']} {model['version']} is {model['state']}: {model['failure']}")
    if answer["failures"]:
        click.echo()
        show_table([("TIME", "LEVEL", "WHAT"), *map(_failure, answer["failures"][:_SHOWN_FAILURES])])


def _details(answer: Mapping[str, Any]) -> dict[str, object]:
    return {
        "state": answer["state"],
        "supervisor": f"{answer['pid']} ({mebibytes(answer['memory_bytes'])})",
        "up": duration(answer["uptime_seconds"]),
        "reloads": answer["release"],
        "log level": answer["log_level"],
        "engine": " ".join(filter(None, (answer["engine"], answer["instruction_set"]))),
        "models": len({model["name"] for model in answer["models"]}),
    }


def _group(group: Mapping[str, Any]) -> tuple[str, ...]:
    waiting = "-" if group["waiting"] is None else str(group["waiting"])
    return (
        group["name"],
        f"{group['ready']}/{group['wanted']}",
        waiting,
        ", ".join(map(process_text, group["processes"])),
    )


def _failure(failure: Mapping[str, Any]) -> tuple[str, ...]:
    about = "".join(f" {name}={value}" for name, value in failure["fields"].items())
    return f"{datetime.fromtimestamp(failure['time']):%H:%M:%S}", failure["level"], failure["message"] + about
