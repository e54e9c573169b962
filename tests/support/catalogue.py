"""Versions of models for tests, and a manager with groups of processes that are none."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from inference_server.catalogue.commands import Answer, ModelCommand, Register
from inference_server.catalogue.desired_state import Desired
from inference_server.catalogue.entries import Catalogue, ModelSettings, ModelVersion, Source, State
from inference_server.catalogue.groups import GroupCallbacks
from inference_server.catalogue.manager import ModelManager
from inference_server.catalogue.start import starting_state
from inference_server.catalogue.state_file import StateFile
from inference_server.catalogue.store import Store
from utils.errors import FacetError, ModelLoadFailed


def version(name: str = "iris", number: str = "1.0", state: State = State.READY) -> ModelVersion:
    """A version of a model."""
    return ModelVersion(name, number, name, Source("echo"), ModelSettings(), 1, state, loaded_at_start=True)


class Process(NamedTuple):
    """No process."""

    pid: int
    card: Mapping[str, Any] | None = None

    def describe(self) -> Mapping[str, Any]:
        return {"pid": self.pid}


class FakeGroup:
    """Processes that do what a test says."""

    def __init__(self, version: ModelVersion, callbacks: GroupCallbacks) -> None:
        self.version = version
        self.callbacks = callbacks
        self.wanted = version.workers
        self.ready_count = 0
        self.retired = self.poison_forgotten = False
        self.processes: Sequence[Process] = [Process(number) for number in range(version.workers)]
        self.exchanged_with: list[ModelVersion] = []
        self.is_exchanged = self.is_kept = False

    @property
    def is_empty(self) -> bool:
        return not self.processes

    def scale(self, wanted: int) -> None:
        assert not self.retired
        self.wanted = wanted
        if not wanted:
            self.ready_count, self.processes = 0, []

    def exchange(self, version: ModelVersion) -> None:
        """Start processes of another version from now on."""
        self.exchanged_with.append(version)
        self.is_exchanged = self.is_kept = False

    def keep_exchange(self) -> None:
        self.is_kept = True

    def undo_exchange(self) -> None:
        if not self.is_kept and self.exchanged_with:
            self.exchanged_with.pop()

    def all_are_exchanged(self) -> None:
        """No process is left of before the exchange."""
        self.is_exchanged = True

    def retire(self) -> None:
        assert not self.retired
        self.retired = True

    def forget_poison(self) -> None:
        self.poison_forgotten = True

    def becomes_ready(self, **card: object) -> None:
        """One more process serves: one that has said nothing yet, or a new one."""
        said = {"name": self.version.name, "version": self.version.version or "1.0", "fields": {}, **card}
        self.ready_count += 1
        processes = list(self.processes)
        if all(one.card for one in processes):
            processes.append(Process(len(processes)))
        silent = next(place for place, one in enumerate(processes) if not one.card)
        processes[silent] = processes[silent]._replace(card=said)
        self.processes = processes
        self.callbacks.on_ready(said)

    def oldest_ends(self) -> None:
        """Another serves in its place."""
        self.ready_count -= 1
        self.processes = self.processes[1:]

    def cannot_start(self, how: str | FacetError = "killed by SIGSEGV") -> None:
        """One process could not."""
        self.callbacks.on_cannot_start(ModelLoadFailed(how) if isinstance(how, str) else how)

    def crashes(self) -> None:
        """None serves, for now."""
        self.ready_count = 0

    def ends(self) -> None:
        """All processes have ended."""
        self.ready_count, self.processes = 0, []


class FakePublication:
    """What was published."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []

    @property
    def generation(self) -> int:
        return len(self.contents)

    def publish(self, content: bytes) -> int:
        self.contents.append(content)
        return len(self.contents)


class Answers(list[Answer]):
    """The answers of one command: none yet, or one."""

    def ok(self) -> Mapping[str, Any]:
        """What was done."""
        (answer,) = self
        assert not isinstance(answer, FacetError), answer.detail
        return answer

    def error(self) -> FacetError:
        """Why it was not."""
        (answer,) = self
        assert isinstance(answer, FacetError), answer
        return answer


class Backend:
    """A manager that was started as a backend does it, and what is around it.

    Args:
        folder: Of its store and its state.
        stored: Names and versions of echoes in the store.
        models: FACET_MODELS.
    """

    def __init__(self, folder: Path, *stored: str, models: Sequence[str] | None = None) -> None:
        self.store_folder = folder / "store"
        self.publication = FakePublication()
        self.groups: list[FakeGroup] = []
        self.removed: list[FakeGroup] = []
        self.waiting: dict[int, int] = {}
        self.now = 1000.0
        self.no_room = False
        for key in stored:
            self.store(key)
        store, self.file = Store(self.store_folder), StateFile(folder / "state")
        state, desired = starting_state(models, self.file, store)
        self.manager: ModelManager[FakeGroup] = ModelManager(
            store,
            state,
            self.publication,
            start_group=self._start_group,
            exchange_group=lambda group, version: group.exchange(version),
            remove_group=self.removed.append,
            waiting=lambda queue: self.waiting.get(queue, 0),
            face_workers=2,
            clock=lambda: self.now,
        )
        self.manager.start(desired)

    def store(self, key: str, text: str = "") -> None:
        """Put a version into the store."""
        (self.store_folder / key).mkdir(parents=True)
        (self.store_folder / key / "model.toml").write_text(f'kind = "echo"\n{text}')

    def _start_group(self, version: ModelVersion, callbacks: GroupCallbacks) -> FakeGroup:
        if self.no_room:
            raise OSError(24, "Too many open files")
        self.groups.append(FakeGroup(version, callbacks))
        return self.groups[-1]

    def do(self, command: ModelCommand) -> Answers:
        """Have a command carried out."""
        answers = Answers()
        self.manager.execute(command, answers.append)
        return answers

    def tick(self, seconds: float = 0.0) -> float:
        """Let time pass."""
        self.now += seconds
        return self.manager.tick()

    @property
    def catalogue(self) -> Catalogue:
        """As all processes see it."""
        return Catalogue.from_json(self.publication.contents[-1] if self.publication.contents else b"")

    @property
    def is_settled(self) -> bool:
        """Whether it is, for the supervisor as for all processes."""
        settled = self.manager.is_settled
        assert self.catalogue.is_settled is settled
        return settled

    def state_of(self, key: str) -> State | None:
        """What a version does, by what all processes see."""
        return next((one.state for one in self.catalogue.versions if one.key == key), None)

    def remembered(self) -> Desired:
        """What the next backend would load."""
        return self.file.load() or Desired()

    def is_killed(self) -> None:
        """Let another backend have the folder."""
        self.file.close()

    def serve(self, key: str, **settings: object) -> FakeGroup:
        """Register a version, and have it loaded."""
        answers = self.do(Register(key, settings=settings))
        group = self.groups[-1]
        group.becomes_ready()
        answers.ok()
        return group
