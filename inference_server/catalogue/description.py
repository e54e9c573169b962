"""What an operator is told of a version."""

from dataclasses import asdict
from typing import Any

from inference_server.catalogue.desired_state import Desired
from inference_server.catalogue.table import AnyGroup, Entry


def describe(
    entry: Entry[AnyGroup], desired: Desired, waiting: int, *, with_card: bool = False
) -> dict[str, Any]:
    """A version as JSON has it, with no path of a file in it.

    Args:
        entry: The version.
        desired: Where its default and its canary weight are.
        waiting: How many requests wait in its queue.
        with_card: Whether its card is to be among it, which may be long.
    """
    version, group = entry.version, entry.group
    described: dict[str, Any] = {
        "name": version.name,
        "version": version.version,
        "state": version.state.value,
        "failure": version.failure,
        "default": desired.defaults.get(version.name) == version.version,
        "canary": desired.canary.get(version.name, {}).get(version.version, 0),
        "url": version.url,
        "kind": version.source.kind,
        "description": (version.card or {}).get("description", ""),
        "queue": version.queue,
        "settings": asdict(version.settings),
        "workers": version.workers,
        "ready_workers": version.workers if group is None else group.ready_count,
        "processes": [] if group is None else [process.describe() for process in group.processes],
        "waiting": waiting,
        "loaded_at_start": version.loaded_at_start,
    }
    if with_card:
        described["card"] = None if version.card is None else dict(version.card)
    return described
