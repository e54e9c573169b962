"""The manager: carries out what operators want of the models, and owns the processes of each version.

Everything happens in the supervisor's one thread, and nothing waits but for the disk: commands, what groups
of processes tell and ticks are the events of a state machine. A change is saved, published and answered, in
that order.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Generic

from inference_server.catalogue.commands import (
    DescribeModel,
    ListModels,
    ModelCommand,
    Register,
    Reload,
    Scale,
    SetCanary,
    SetDefault,
    SetTraffic,
    Unregister,
)
from inference_server.catalogue.contents import Contents, known_contents
from inference_server.catalogue.desired_state import Desired, DesiredState
from inference_server.catalogue.entries import Catalogue, ModelVersion, State
from inference_server.catalogue.groups import Publisher
from inference_server.catalogue.leaving import Leaving, LeavingVersions, may_serve
from inference_server.catalogue.loader import Loader, StartGroup
from inference_server.catalogue.model_settings import check_traffic, check_weights
from inference_server.catalogue.names import FACE_DETECTION
from inference_server.catalogue.registration import new_version
from inference_server.catalogue.reloading import ExchangeGroup, Reloader
from inference_server.catalogue.scaling import Scaler
from inference_server.catalogue.store import Store
from inference_server.catalogue.table import AnyGroup, Entry, Pending, Reply
from inference_server.catalogue.writer import CatalogueWriter
from utils.errors import FacetError, InternalError, ModelConflict, ModelNotFound, shown
from utils.logs import fields

logger = logging.getLogger(__name__)


class ModelManager(Generic[AnyGroup]):
    """All models of a backend.

    Args:
        store: Where models are found.
        state: Remembers them.
        publication: Tells all processes of them.
        start_group: Starts the processes of a version.
        exchange_group: Replaces them by others.
        remove_group: Forgets a group whose processes have ended.
        waiting: How many requests wait in a queue.
        face_workers: How many processes find faces, which are none of its own.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        store: Store,
        state: DesiredState,
        publication: Publisher,
        *,
        start_group: StartGroup[AnyGroup],
        exchange_group: ExchangeGroup[AnyGroup],
        remove_group: Callable[[AnyGroup], None],
        waiting: Callable[[int], int],
        face_workers: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._writer: CatalogueWriter[AnyGroup] = CatalogueWriter(state, publication, waiting)
        self._table = self._writer.table
        self._leaving = LeavingVersions(waiting, remove_group)
        self._reloader = Reloader(self._writer, store, exchange_group)
        self._loader = Loader(self._writer, self._leaving, start_group, self._reloader)
        self._scaler = Scaler(self._writer, self._leaving, self._check_room)
        self._face_workers = face_workers
        self._clock = clock

    def start(self, desired: Desired) -> None:
        """Load what is desired; for once, before anything else.

        Raises:
            TooManyModels: There are more versions than queues, or more processes than places for them.
            ModelLoadFailed: The system has no room for a process.
        """
        self._writer.desired = desired
        for version in desired.versions:
            if version.name == FACE_DETECTION:
                self._list_faces(version)
            else:
                self._check_room(max(version.settings.min_workers, 1))
                contents = known_contents(self._store, version)
                self._loader.begin(replace(version, queue=self._free_queue()), contents)
        self._writer.publish()

    def execute(self, command: ModelCommand, reply: Reply) -> None:
        """Carry out a command; the answer may come later, and comes once."""
        try:
            match command:
                case Register():
                    self._register(command, reply)
                case Unregister():
                    self._unregister(command, reply)
                case Scale() | Reload():
                    self._change_processes(command, reply)
                case SetDefault(name, version):
                    self._set_default(name, version, reply)
                case SetCanary() | SetTraffic():
                    self._set_canary(command, reply)
                case ListModels():
                    reply({"models": self.described()})
                case DescribeModel(name, version):
                    self._describe(name, version, reply)
        except FacetError as error:
            reply(error)
        except Exception:  # whatever a command meets, the models are served on
            logger.exception("command failed", extra=fields(command=type(command).__name__))
            reply(InternalError())

    def tick(self) -> float:
        """Go on with what takes time; gives the seconds after which this is to be called again."""
        self._loader.replace_cards()
        self._reloader.tick()
        return self._leaving.tick(self._clock())

    @property
    def is_settled(self) -> bool:
        """As `Catalogue.is_settled`, of what is published."""
        return Catalogue(versions=self._table.versions).is_settled

    def described(self) -> list[dict[str, Any]]:
        """All versions, as operators are told of them."""
        return [self._writer.described(entry) for entry in self._table]

    # --- the commands ---

    def _register(self, command: Register, reply: Reply) -> None:
        self._writer.check_writable()
        version = new_version(command, self._store, self._table.versions)
        if version.name == FACE_DETECTION:
            self._writer.save(self._writer.desired.with_version(version))
            entry = self._list_faces(version)
        else:
            self._check_room(max(version.settings.min_workers, 1))
            pending = Pending(before=None, replies=[reply] if command.synchronous else [])
            contents = Contents.read(self._store, version)
            entry = self._loader.begin(replace(version, queue=self._free_queue()), contents, pending)
        self._writer.publish()
        if entry.pending is None or not command.synchronous:
            reply(self._writer.described(entry))

    def _unregister(self, command: Unregister, reply: Reply) -> None:
        entry = self._find(command.name, command.version)
        version = entry.version
        if self._is_default(version) and len(self._table.of(version.name)) > 1:
            raise ModelConflict(
                f"{version.version} is the default version of {version.name}, which has others; make one of "
                "them the default first",
                field="version",
            )
        pending = entry.pending
        if pending is None or pending.before is not None:
            self._writer.save(self._writer.desired.without(version))
        answer = {"name": version.name, "version": version.version}
        self._table.remove(entry)
        self._writer.publish()
        if pending is not None:
            pending.answer(ModelConflict(f"{version.key} was unregistered before it was loaded"))
        logger.info("model unregistered", extra=fields(model=version.key))
        if entry.group is None:
            reply(answer)
            return
        self._leaving.stop_draining(entry.group)
        serving = may_serve(version, entry.group)
        self._leaving.add(Leaving(version, entry.group, serving, on_quiet=lambda: reply(answer)))

    def _change_processes(self, command: Scale | Reload, reply: Reply) -> None:
        entry = self._find(command.name, command.version)
        if isinstance(command, Scale):
            self._scaler.scale(entry, command, reply)
        else:
            self._reloader.reload(entry, reply)

    def _set_default(self, name: str, version: str, reply: Reply) -> None:
        entry = self._find(name, version)
        _check_loaded(entry.version, "version")
        self._writer.save(self._writer.desired.with_default(name, entry.version.version))
        self._writer.publish()
        logger.info("default version changed", extra=fields(model=entry.version.key))
        reply(self._writer.described(entry))

    def _set_canary(self, command: SetCanary | SetTraffic, reply: Reply) -> None:
        weights = self._weights(command)
        there = {entry.version.version: entry.version for entry in self._table.of(command.name)}
        for version in weights:
            if version not in there:
                raise ModelNotFound(
                    f"The model {command.name} has no version {shown(version)!r}", field="weights"
                )
            _check_loaded(there[version], "weights")
        self._writer.save(self._writer.desired.with_canary(command.name, weights))
        self._writer.publish()
        logger.info("canary changed", extra=fields(model=command.name, weights=dict(weights)))
        self._describe(command.name, "", reply)

    def _weights(self, command: SetCanary | SetTraffic) -> Mapping[str, int]:
        """The weights of a canary, which leave out the default version of a traffic."""
        if isinstance(command, SetCanary):
            check_weights(command.weights)
            return command.weights
        check_traffic(command.weights)
        default = self._find(command.name, "").version.version
        return {version: weight for version, weight in command.weights.items() if version != default}

    def _describe(self, name: str, version: str, reply: Reply) -> None:
        found = [self._find(name, version)] if version else self._table.of(name)
        reply({"models": [self._writer.described(entry, with_card=True) for entry in found]})

    # --- parts of them ---

    def _list_faces(self, version: ModelVersion) -> Entry[AnyGroup]:
        entry: Entry[AnyGroup] = Entry(
            replace(version, queue=0, state=State.READY, workers=self._face_workers)
        )
        self._table.add(entry)
        return entry

    def _find(self, name: str, version: str) -> Entry[AnyGroup]:
        return self._table.find(name, version, self._writer.desired)

    def _free_queue(self) -> int:
        return self._table.free_queue(leaving.version for leaving in self._leaving)

    def _check_room(self, more: int) -> None:
        leaving = sum(len(leaving.group.processes) for leaving in self._leaving)
        self._table.check_processes(more, leaving)

    def _is_default(self, version: ModelVersion) -> bool:
        return self._writer.desired.defaults.get(version.name) == version.version


def _check_loaded(version: ModelVersion, field: str) -> None:
    if version.state not in (State.READY, State.IDLE):
        raise ModelConflict(f"{version.key} is {version.state.value}", field=field)
