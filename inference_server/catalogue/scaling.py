"""Changes how many processes a version has."""

from collections.abc import Callable
from dataclasses import replace
from typing import Generic

from inference_server.catalogue.commands import Scale
from inference_server.catalogue.entries import ModelVersion, State
from inference_server.catalogue.leaving import Leaving, LeavingVersions, may_serve
from inference_server.catalogue.names import FACE_DETECTION
from inference_server.catalogue.table import AnyGroup, Entry, Pending, Reply
from inference_server.catalogue.writer import CatalogueWriter
from utils.errors import ModelConflict


class Scaler(Generic[AnyGroup]):
    """Scales versions.

    Args:
        writer: Of the catalogue.
        leaving: Where what waits for a version that becomes IDLE is finished.
        check_room: Raises a TooManyModels where there is no room for so many processes more.
    """

    def __init__(
        self,
        writer: CatalogueWriter[AnyGroup],
        leaving: LeavingVersions[AnyGroup],
        check_room: Callable[[int], None],
    ) -> None:
        self._writer = writer
        self._leaving = leaving
        self._check_room = check_room

    def scale(self, entry: Entry[AnyGroup], command: Scale, reply: Reply) -> None:
        """Carry out a command; from IDLE up it is answered when the version is served.

        Raises:
            InvalidModel: The numbers are out of their ranges.
            ModelConflict: It loads, or its processes are not those of a model alone.
            TooManyModels: There is no room for so many processes.
            StateNotWritable: The change cannot be saved.
        """
        if entry.group is None:
            raise ModelConflict(
                f"{FACE_DETECTION} runs in the workers; FACET_WORKERS says how many there are", field="name"
            )
        if entry.pending is not None or entry.version.state is State.LOADING:
            raise ModelConflict(f"{entry.version.key} is loading", field="name")
        version = _scaled(entry.version, command)
        self._check_room(version.workers - entry.version.workers)
        if entry.version.state is State.IDLE and version.workers and not entry.group.ready_count:
            self._load(entry, entry.group, version, reply)
        else:
            self._change(entry, entry.group, version, reply)

    def _load(self, entry: Entry[AnyGroup], group: AnyGroup, version: ModelVersion, reply: Reply) -> None:
        """Have an IDLE version loaded; the change is saved when it is."""
        self._writer.check_writable()
        entry.pending = Pending(entry.version, [reply])
        entry.version = replace(version, state=State.LOADING, loaded_at_start=False)
        self._leaving.stop_draining(group)
        group.scale(version.workers)
        self._writer.publish()

    def _change(self, entry: Entry[AnyGroup], group: AnyGroup, version: ModelVersion, reply: Reply) -> None:
        """Change a version that needs no loading for it; its last requests are finished before it is IDLE."""
        if version.state is not State.FAILED:
            version = replace(version, state=State.READY if version.workers else State.IDLE)
        self._writer.save(self._writer.desired.with_version(version))
        serving, entry.version = may_serve(entry.version, group), version
        self._writer.publish()
        self._leaving.stop_draining(group)

        def answer() -> None:
            reply(self._writer.described(entry))

        if version.workers:
            group.scale(version.workers)
            answer()
        else:
            self._leaving.add(Leaving(version, group, serving, stays=True, on_quiet=answer))


def _scaled(version: ModelVersion, command: Scale) -> ModelVersion:
    changes = {"min_workers": command.min_workers}
    if command.max_workers is not None:
        changes["max_workers"] = command.max_workers
    settings = version.settings.with_changes(changes)
    return replace(version, settings=settings, workers=settings.min_workers)
