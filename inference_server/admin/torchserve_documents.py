"""TorchServe's JSON: what it tells of a version, in its order, and what it asks of one."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from inference_server.catalogue.names import FACE_DETECTION
from inference_server.dispatch.admission import MAX_WAITING

_CARD = (
    "name",
    "version",
    "display_name",
    "description",
    "kind",
    "operations",
    "input_schema",
    "output_schema",
)
_WITHOUT_EFFECT = {
    "maxRetryTimeoutInSec": 300,
    "clientTimeoutInMills": 0,
    "parallelType": "",
    "parallelLevel": 0,
    "deviceType": "cpu",
    "continuousBatching": False,
    "useJobTicket": False,
    "useVenv": False,
    "stateful": False,
    "sequenceMaxIdleMSec": 0,
    "sequenceTimeoutMSec": 0,
    "maxNumSequence": 0,
    "maxSequenceJobQueueSize": 0,
}
"""What Facet has no settings for, with TorchServe's defaults."""


_SETTINGS = {
    "batch_size": ("max_batch", 1),
    "max_batch_delay": ("max_batch_delay", 1000),
    "response_timeout": ("response_timeout", 1),
    "startup_timeout": ("startup_timeout", 1),
}
"""TorchServe's parameters: the setting of ours, and how many of TorchServe's units are one of ours."""


def pretty(document: object) -> str:
    """JSON as TorchServe writes it."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def settings_of(parameters: Mapping[str, Any]) -> dict[str, float]:
    """The settings of a model that TorchServe's parameters mean; one of 0 or below is none.

    Args:
        parameters: Whole numbers, by their names; others are not looked at.
    """
    found = {}
    for name, (setting, units) in _SETTINGS.items():
        value = parameters.get(name, 0)
        if value > 0:
            found[setting] = value if units == 1 else value / units
    return found


def described(
    version: Mapping[str, Any], workers: Sequence[Mapping[str, Any]], *, with_card: bool
) -> dict[str, Any]:
    """A version.

    Args:
        version: As the supervisor describes it.
        workers: The backend's workers, which host face detection.
        with_card: Whether to add what the model says of itself.
    """
    settings = version["settings"]
    least, most, processes = settings["min_workers"], settings["max_workers"], version["processes"]
    if version["name"] == FACE_DETECTION:
        least, most, processes = version["workers"], version["workers"], workers
    document = {
        "modelName": version["name"],
        "modelVersion": version["version"],
        "modelUrl": version["url"],
        "runtime": "python",
        "minWorkers": least,
        "maxWorkers": most,
        "batchSize": settings["max_batch"],
        "maxBatchDelay": round(settings["max_batch_delay"] * 1000),
        "responseTimeout": math.ceil(settings["response_timeout"]),
        "startupTimeout": math.ceil(settings["startup_timeout"]),
        **_WITHOUT_EFFECT,
        "loadedAtStartup": version["loaded_at_start"],
        "workers": [_worker(process) for process in processes],
        "jobQueueStatus": {
            "remainingCapacity": max(MAX_WAITING - version["waiting"], 0),
            "pendingRequests": version["waiting"],
        },
    }
    if with_card:
        card = version["card"] or {}
        document["customizedMetadata"] = {name: card[name] for name in _CARD if name in card}
    return document


def _worker(process: Mapping[str, Any]) -> dict[str, Any]:
    started = datetime.fromtimestamp(process["started"], UTC)
    return {
        "id": str(process["slot"]),
        "startTime": f"{started:%Y-%m-%dT%H:%M:%S}.{started.microsecond // 1000:03}Z",
        "status": "READY" if process["state"] == "ready" else "UNLOADING",
        "memoryUsage": process["memory_bytes"],
        "pid": process["pid"],
        "gpu": False,
        "gpuUsage": "N/A",
    }
