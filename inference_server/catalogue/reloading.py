"""Has a version serve what the store has of it by now, while its earlier processes go on."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Generic

from inference_server.catalogue.contents import Contents
from inference_server.catalogue.entries import ModelVersion, State
from inference_server.catalogue.store import Store
from inference_server.catalogue.table import AnyGroup, Entry, Pending, Renewal, Reply
from inference_server.catalogue.writer import CatalogueWriter
from utils.errors import FacetError
from utils.logs import fields

logger = logging.getLogger(__name__)

ExchangeGroup = Callable[[AnyGroup, ModelVersion], None]
"""Has the processes of a group replaced, one by one, by some of this version; a group keeps or undoes it."""


class Reloader(Generic[AnyGroup]):
    """Reloads versions.

    A READY version becomes what is new when the first new process serves; before, a failure changes nothing.
    From then on its other processes follow, or are tried again.

    Args:
        writer: Of the catalogue.
        store: Where models are found.
        exchange: Replaces the processes of a version.
    """

    def __init__(
        self, writer: CatalogueWriter[AnyGroup], store: Store, exchange: ExchangeGroup[AnyGroup]
    ) -> None:
        self._writer = writer
        self._store = store
        self._exchange = exchange

    def reload(self, entry: Entry[AnyGroup], reply: Reply) -> None:
        """Carry out a command; it is answered when all processes serve what the store has now.

        Raises:
            InvalidModel, ModelNotFound: The store has no valid model of it.
            StateNotWritable: The change could not be saved.
        """
        if entry.group is None:  # face detection, which is in no store
            reply(self._writer.described(entry))
            return
        contents = Contents.read(self._store, entry.version)
        under_way = None if entry.pending is None else entry.pending.reload
        known = Renewal(entry.version, entry.contents) if under_way is None else under_way
        if contents.is_that_of(known.contents) and self._is_loaded_or_awaited(entry, reply):
            return
        self._writer.check_writable()
        renewal = Renewal(contents.applied(known.version, known.contents), contents)
        if entry.version.state is State.IDLE:
            self._take_over_idle(entry, entry.group, renewal, reply)
        else:
            self._begin(entry, entry.group, renewal, reply)

    def _is_loaded_or_awaited(self, entry: Entry[AnyGroup], reply: Reply) -> bool:
        """Answer for what has not changed, now or when it is loaded; False where it could not be loaded."""
        if entry.pending is not None:
            entry.pending.replies.append(reply)
        elif entry.version.state is State.LOADING:  # since the backend's start
            entry.pending = Pending(entry.version, [reply])
        elif entry.version.state is not State.FAILED:
            reply(self._writer.described(entry))
        else:
            return False
        return True

    def _take_over_idle(
        self, entry: Entry[AnyGroup], group: AnyGroup, renewal: Renewal, reply: Reply
    ) -> None:
        self._writer.save(self._writer.desired.with_version(renewal.version))
        entry.version, entry.contents = renewal.version, renewal.contents
        self._writer.publish()
        self._exchange(group, renewal.version)
        group.keep_exchange()
        logger.info("model reloaded", extra=fields(model=entry.version.key, workers=0))
        reply(self._writer.described(entry))

    def _begin(self, entry: Entry[AnyGroup], group: AnyGroup, renewal: Renewal, reply: Reply) -> None:
        before = Pending(entry.version) if entry.pending is None else entry.pending
        entry.pending = Pending(before.before, [*before.replies, reply], renewal)
        logger.info("model reloading", extra=fields(model=entry.version.key))
        self._exchange(group, renewal.version)
        if entry.version.state is not State.READY:
            workers = max(renewal.version.settings.min_workers, 1)
            entry.version = replace(
                renewal.version, state=State.LOADING, loaded_at_start=False, failure="", workers=workers
            )
            group.scale(workers)
            self._writer.publish()

    def take_over(self, entry: Entry[AnyGroup], card: Mapping[str, Any]) -> None:
        """Have a READY version be what its first new process serves, or go on as before.

        Args:
            entry: A process of it is ready.
            card: What that says.
        """
        if entry.pending is None or self._is_taken_over(entry):
            return
        assert entry.group is not None
        assert entry.pending.reload is not None
        renewal = entry.pending.reload
        version = replace(entry.version, source=renewal.version.source, settings=renewal.version.settings)
        try:
            self._writer.check_others(replace(version, card=card), version.key)
            self._writer.save(self._writer.desired.with_version(version))
        except FacetError as error:
            self.failed(entry, error)
            return
        entry.version, entry.contents = version, renewal.contents
        entry.group.keep_exchange()
        self._writer.publish()

    def failed(self, entry: Entry[AnyGroup], error: FacetError) -> None:
        """Tell those who wait for the reload of a READY version, if there is one, that it has failed."""
        pending = entry.pending
        if pending is None:
            return
        assert entry.group is not None
        if self._is_taken_over(entry):
            assert entry.contents is not None
            entry.contents = entry.contents.without_files()
            detail = (
                f"{error.detail}; some of its processes serve what is new, and the others are tried again"
            )
            error = type(error)(detail, field=error.field)
        entry.pending = None
        entry.group.undo_exchange()
        logger.warning("model not reloaded", extra=fields(model=entry.version.key, reason=error.detail))
        self._writer.tell(entry, error.detail)
        pending.answer(error)

    def tick(self) -> None:
        """Answer those who wait for a version of which all processes serve what is new."""
        for entry in self._writer.table:
            if entry.pending is None or entry.group is None or entry.version.state is not State.READY:
                continue
            if self._is_taken_over(entry) and entry.group.is_exchanged:
                pending, entry.pending = entry.pending, None
                entry.group.forget_poison()  # it may be mended
                logger.info(
                    "model reloaded", extra=fields(model=entry.version.key, workers=entry.version.workers)
                )
                pending.answer(self._writer.described(entry))

    def _is_taken_over(self, entry: Entry[AnyGroup]) -> bool:
        """Whether a version is what its pending reload has brought."""
        reload = None if entry.pending is None else entry.pending.reload
        return reload is not None and entry.contents is reload.contents
