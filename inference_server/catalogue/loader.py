"""Loads versions: starts their processes, and takes in what those say of themselves, or why they cannot."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Generic

from inference_server.catalogue.contents import Contents
from inference_server.catalogue.entries import ModelVersion, State
from inference_server.catalogue.groups import GroupCallbacks
from inference_server.catalogue.growth import check_identity
from inference_server.catalogue.leaving import Leaving, LeavingVersions
from inference_server.catalogue.names import check_version
from inference_server.catalogue.reloading import Reloader
from inference_server.catalogue.table import AnyGroup, Entry, Pending
from inference_server.catalogue.writer import CatalogueWriter
from utils.errors import FacetError, ModelLoadFailed, without_folders
from utils.logs import fields

logger = logging.getLogger(__name__)

StartGroup = Callable[[ModelVersion, GroupCallbacks], AnyGroup]
"""Has `version.workers` processes started that take requests from `version.queue`; may raise OSError."""

_LONGEST_REASON: Final = 500


class Loader(Generic[AnyGroup]):
    """Loads versions.

    Args:
        writer: Of the catalogue.
        leaving: Where versions go that could not be registered, until their processes have ended.
        start_group: Starts the processes of a version.
        reloader: Is told what becomes of the new processes of a version that is reloaded.
    """

    def __init__(
        self,
        writer: CatalogueWriter[AnyGroup],
        leaving: LeavingVersions[AnyGroup],
        start_group: StartGroup[AnyGroup],
        reloader: Reloader[AnyGroup],
    ) -> None:
        self._writer = writer
        self._leaving = leaving
        self._start_group = start_group
        self._reloader = reloader

    def begin(
        self, version: ModelVersion, contents: Contents | None, pending: Pending | None = None
    ) -> Entry[AnyGroup]:
        """Add a version, and have its first processes started: one, where it shall have none.

        Args:
            version: With its queue.
            contents: What the store has of it, if that is known.
            pending: What is to be done when it is loaded; None for one that is desired already.

        Raises:
            ModelLoadFailed: The system has no room for it.
        """
        workers = max(version.settings.min_workers, 1)
        entry: Entry[AnyGroup] = Entry(replace(version, workers=workers), None, pending, contents=contents)
        callbacks = GroupCallbacks(
            lambda card: self._on_ready(entry, card),
            lambda error: self._on_cannot_start(entry, error),
        )
        try:
            entry.group = self._start_group(entry.version, callbacks)
        except OSError as error:
            raise _not_loaded(version, ModelLoadFailed(str(error.strerror))) from error
        self._writer.table.add(entry)
        logger.info("model loading", extra=fields(model=version.key, queue=version.queue))
        return entry

    def _on_ready(self, entry: Entry[AnyGroup], card: Mapping[str, Any]) -> None:
        if entry not in self._writer.table:
            return  # it leaves
        if entry.version.state in (State.READY, State.IDLE):
            self._another_ready(entry, card)
            return
        pending = entry.pending
        try:
            version = self._loaded(entry.version, card)
            desired = self._writer.desired.with_version(version, entry.version)
            if pending is not None:
                self._writer.save(desired)
        except FacetError as error:
            if pending is None:
                self._scale(entry, 0)  # another process would say the same
            self._failed(entry, error)
            return
        self._writer.desired = desired
        entry.version, entry.pending, entry.new_card = version, None, None
        if pending is not None and pending.reload is not None:
            self._keep(entry, pending.reload.contents)
        if version.state is State.IDLE:
            self._scale(entry, 0)
        self._writer.publish()
        logger.info("model ready", extra=fields(model=version.key, workers=version.workers))
        if pending is not None:
            pending.answer(self._writer.described(entry))

    def _keep(self, entry: Entry[AnyGroup], contents: Contents | None) -> None:
        assert entry.group is not None
        entry.contents = contents
        entry.group.keep_exchange()

    def _loaded(self, version: ModelVersion, card: Mapping[str, Any]) -> ModelVersion:
        """The version as it is served.

        Raises:
            InvalidModel: Its card is another model's, or breaks what its other versions promise.
            ModelExists: It turns out to be one that there is.
        """
        check_identity(card, version.name, version.version)
        idle = version.settings.min_workers == 0
        loaded = replace(
            version,
            version=check_version(card["version"]),
            card=card,
            state=State.IDLE if idle else State.READY,
            failure="",
            workers=version.settings.min_workers,
        )
        self._writer.check_others(loaded, version.key)
        return loaded

    def _another_ready(self, entry: Entry[AnyGroup], card: Mapping[str, Any]) -> None:
        """Take in a further process of a version that has been loaded."""
        self._writer.tell(entry, "")
        if card != entry.version.card:
            entry.new_card = card
        self._reloader.take_over(entry, card)

    def replace_cards(self) -> None:
        """Publish each card that all processes of a version have by now, in the place of an earlier one."""
        for entry in self._writer.table:
            processes = () if entry.group is None or entry.new_card is None else entry.group.processes
            if processes and all(process.card == entry.new_card for process in processes):
                self._replace_card(entry)

    def _replace_card(self, entry: Entry[AnyGroup]) -> None:
        version, entry.new_card = replace(entry.version, card=entry.new_card), None
        try:
            self._writer.check_others(version, version.key)
            self._writer.save(self._writer.desired.with_version(version))
        except FacetError as error:
            logger.error("model card not replaced", extra=fields(model=version.key, reason=error.detail))
            self._writer.tell(entry, error.detail)
            self._reloader.failed(entry, error)
            return
        entry.version = version
        self._writer.publish()
        logger.info("model card replaced", extra=fields(model=version.key))

    def _on_cannot_start(self, entry: Entry[AnyGroup], error: FacetError) -> None:
        assert entry.group is not None
        told = _not_loaded(entry.version, error)
        if entry in self._writer.table and entry.version.state is State.READY:
            self._reloader.failed(entry, told)
        if entry.group.ready_count:
            if entry in self._writer.table:
                self._writer.tell(entry, told.detail)
            return  # others serve
        self._leaving.cannot_serve(entry.group)
        if entry in self._writer.table and entry.version.state is not State.IDLE:
            self._failed(entry, told)

    def _failed(self, entry: Entry[AnyGroup], error: FacetError) -> None:
        """Undo what was begun; what is desired stays, and is FAILED until a process of it is ready."""
        pending = entry.pending
        key = entry.version.key
        if pending is None:
            if entry.version.state is not State.FAILED or entry.version.failure != error.detail:
                logger.error("model failed to load", extra=fields(model=key, reason=error.detail))
                entry.version = replace(entry.version, state=State.FAILED, failure=error.detail)
                self._writer.publish()
            return
        logger.warning("model not loaded", extra=fields(model=key, reason=error.detail))
        self._withdraw(entry)
        self._writer.publish()
        pending.answer(error)

    def _withdraw(self, entry: Entry[AnyGroup]) -> None:
        """Make a version again what it was before its pending change: nothing, where it is new."""
        assert entry.pending is not None
        assert entry.group is not None
        before, entry.pending = entry.pending.before, None
        if before is not None:
            entry.version = before
            entry.group.undo_exchange()
            self._scale(entry, before.workers)
        else:
            self._writer.table.remove(entry)
            self._leaving.add(Leaving(entry.version, entry.group, serving=False))

    def _scale(self, entry: Entry[AnyGroup], workers: int) -> None:
        assert entry.group is not None
        entry.group.scale(workers)


def _not_loaded(version: ModelVersion, error: FacetError) -> FacetError:
    """The error as it is told, without folders."""
    reason = without_folders(error.detail)[:_LONGEST_REASON]
    return type(error)(f"The model {version.name} could not be loaded: {reason}", field=error.field)
