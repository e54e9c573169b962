"""`facet models list` and `describe`."""

from collections.abc import Iterable, Mapping
from typing import Any

import click

from cli.models.backend import Backend, asks_backend, prints_json
from cli.text import process_text, show_details, show_json, show_table
from inference_server.catalogue.commands import DescribeModel, ListModels

_HEADINGS = ("NAME", "VERSION", "STATE", "DEFAULT", "WORKERS", "KIND")
_UNKNOWN = "-"


@click.command("list")
@asks_backend
@prints_json
def list_models(backend: Backend, *, as_json: bool) -> None:
    """List all versions of all models.

    DEFAULT says which version serves calls that name none, and which percent of them another one gets.
    WORKERS are the processes that serve, of how many where some are missing.
    """
    answer = backend.ask(ListModels())
    if as_json:
        show_json(answer)
    else:
        show_table([_HEADINGS, *map(_row, answer["models"])])


@click.command()
@click.argument("name")
@click.argument("version", default="")
@asks_backend
@prints_json
def describe(backend: Backend, name: str, version: str, *, as_json: bool) -> None:
    """Describe a version of a model, or all of them.

    With --json, the schemas of inputs and outputs are among it.
    """
    answer = backend.ask(DescribeModel(name, version))
    if as_json:
        show_json(answer)
        return
    for number, described in enumerate(answer["models"]):
        if number:
            click.echo()
        show_details(_details(described))


def _row(version: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        version["name"],
        version["version"] or _UNKNOWN,
        version["state"],
        _share(version) or _UNKNOWN,
        _workers(version),
        version["kind"],
    )


def _share(version: Mapping[str, Any]) -> str:
    """What a version gets of the calls that name none."""
    if version["default"]:
        return "yes"
    return f"{version['canary']}%" if version["canary"] else ""


def _workers(version: Mapping[str, Any]) -> str:
    """How many processes serve, of how many shall where those are not all."""
    ready, wanted = version["ready_workers"], version["workers"]
    return f"{ready}" if ready == wanted else f"{ready}/{wanted}"


def _details(version: Mapping[str, Any]) -> dict[str, object]:
    """What is known of a version; what a card has only of one that has been loaded."""
    card = version["card"] or {}
    return {
        "name": version["name"],
        "version": version["version"],
        "state": version["state"],
        "failure": version["failure"],
        "default": _share(version),
        "workers": _workers(version),
        "processes": [process_text(process) for process in version["processes"]],
        "waiting": version["waiting"] or None,
        "kind": version["kind"],
        "registered as": version["url"],
        "description": card.get("description"),
        "settings": version["settings"],
        "operations": card.get("operations"),
        "input": list(_members(card.get("input_schema", {}))),
        "output": list(_members(card.get("output_schema", {}))),
    }


def _members(schema: Mapping[str, Any]) -> Iterable[str]:
    """The members of a JSON Schema's object with their types, and `?` behind those that may be left out."""
    required = schema.get("required", ())
    for name, member in schema.get("properties", {}).items():
        yield f"{name}{'' if name in required else '?'}: {_type(member)}"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"[{_type(schema.get('items', {}))}]"
    return str(schema.get("format") or schema.get("type", "any"))
