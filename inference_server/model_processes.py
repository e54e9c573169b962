"""The processes of the models: how they are started, and what they say of the model that they host."""

import json
import os
import sys
from dataclasses import replace
from functools import partial

from inference_server.catalogue.entries import ModelVersion
from inference_server.catalogue.groups import GroupCallbacks
from inference_server.catalogue.model_settings import MOST_PROCESSES
from inference_server.dispatch.shared import Shared
from inference_server.supervision.control import BootFailed
from inference_server.supervision.exchange import ExchangeableGroup
from inference_server.supervision.liveness import LivenessMonitor, Times
from inference_server.supervision.recycling import Limits
from inference_server.supervision.supervisor import Supervisor
from inference_server.supervision.worker_process import WorkerProcess
from utils.errors import FacetError, InvalidModel, ModelLoadFailed

_MODULE = "inference_server.model_worker"


class ModelProcesses:
    """Starts a group of processes for each version, and has it supervised.

    Args:
        supervisor: Of all groups.
        shared: What all processes share.
        patience: Seconds that a process has to finish what it has when it is told to stop.
        limits: What a process may reach, give or take a little, before it is replaced.
    """

    def __init__(self, supervisor: Supervisor, shared: Shared, patience: float, limits: Limits) -> None:
        self._supervisor = supervisor
        self._shared = shared
        self._patience = patience
        self._limits = limits
        self._supervisor_lives, self._held_open = os.pipe()
        slots = shared.slots
        self._slots = range(slots, slots + MOST_PROCESSES)

    def start(self, version: ModelVersion, callbacks: GroupCallbacks) -> ExchangeableGroup:
        """Have `version.workers` processes of a version started by the supervisor's loop."""
        settings = version.settings
        group = ExchangeableGroup(
            version.key,
            partial(self._spawn, version),
            self._slots,
            LivenessMonitor(
                self._shared.stats,
                settings.response_timeout,
                boot_seconds=settings.startup_timeout,
                heartbeat_while_busy=False,
            ),
            wanted=version.workers,
            patience=self._patience,
            queue=version.queue,
            is_urgent=not version.loaded_at_start,
            on_ready=lambda process, _: callbacks.on_ready(process.card or {}),
            on_cannot_start=lambda error: callbacks.on_cannot_start(_told(error)),
        )
        self._supervisor.add_group(group)
        return group

    def exchange(self, group: ExchangeableGroup, version: ModelVersion) -> None:
        """Replace the processes of a version by some that load it as it is now."""
        settings = version.settings
        times = Times(settings.response_timeout, settings.startup_timeout)
        group.exchange(partial(self._spawn, version), times)

    def remove(self, group: ExchangeableGroup) -> None:
        """Forget a group whose processes have ended."""
        self._supervisor.remove_group(group)

    def _spawn(self, version: ModelVersion, slot: int, generation: int, release: int) -> WorkerProcess:
        card = os.memfd_create("facet-card", os.MFD_CLOEXEC)
        # Without what a process has no use for: one argument may have 128 KiB, and a card may have more.
        described = json.dumps(replace(version, card=None, failure="").to_dict())
        command = [sys.executable, "-m", _MODULE, "--shared", self._shared.described()]
        command += ["--version", described, "--card-fd", str(card)]
        command += ["--supervisor-fd", str(self._supervisor_lives)]
        try:
            return WorkerProcess(
                command,
                slot,
                generation,
                release,
                limits=self._limits.jittered(),
                inherit=(*self._shared.descriptors, card, self._supervisor_lives),
                own_session=True,
                nice=version.settings.nice,
                card_fd=card,
            )
        except OSError:
            os.close(card)
            raise


def _told(error: BootFailed) -> FacetError:
    """What somebody who registers the model is told."""
    if error.invalid:
        return InvalidModel(error.reason, field=error.field or None)
    return ModelLoadFailed(error.reason)
