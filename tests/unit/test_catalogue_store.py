"""Rules of what can be registered, and of the store."""

from collections.abc import Callable
from pathlib import Path

import pytest

from inference_server.catalogue import store as stores
from inference_server.catalogue.entries import ModelSettings, Source
from inference_server.catalogue.store import Store
from utils.errors import FacetError, InvalidModel, ModelNotFound

Add = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of an empty store."""
    made = tmp_path / "store"
    made.mkdir()
    return made


@pytest.fixture
def add(folder: Path) -> Add:
    """Adds a version to it, with the text of its model.toml and empty files."""

    def added(key: str, text: str = 'kind = "echo"', *files: str) -> Path:
        version = folder / key
        version.mkdir(parents=True)
        (version / "model.toml").write_text(text)
        for file in files:
            (version / file).touch()
        return version

    return added


class Point:
    """An entry point of an installed package, which nothing must load."""

    def __init__(self, name: str, value: str = "flowers:Iris") -> None:
        self.name = name
        self.value = value


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs packages with these entry points."""

    def installed(*points: Point) -> None:
        def found(*, group: str, name: str | None = None) -> list[Point]:
            assert group == "facet.models"
            return [point for point in points if name in (None, point.name)]

        monkeypatch.setattr(stores, "entry_points", found)

    return installed


def test_a_version_is_a_folder_with_a_model_toml(folder: Path, add: Add) -> None:
    """Whose keys are the kind's own, and those that all kinds have."""
    version = add("iris/1.0", 'kind = "onnx"\nfile = "a.onnx"\nmax_batch = 8\nnice = 5', "a.onnx")
    found = Store(folder).resolve("iris")
    assert (found.name, found.version) == ("iris", "1.0")
    assert found.source == Source("onnx", version, {"file": "a.onnx"})
    assert found.settings == ModelSettings(max_batch=8, nice=5)


@pytest.mark.parametrize(
    "url",
    [
        "digit-model",
        "digit-model.mar",
        "digit-model/1.0",
        "digit-model.mar/1.0",
        "https://example.com/a/digit-model.mar?token=1",
        "file:///somewhere/digit%2Dmodel",
    ],
)
def test_a_model_is_asked_for_in_several_ways(folder: Path, add: Add, url: str) -> None:
    """Of a URL its last part counts; nothing is fetched from there."""
    add("digit-model/1.0")
    found = Store(folder).resolve(url)
    assert (found.name, found.version) == ("digit-model", "1.0")


@pytest.mark.security(
    endpoint="files",
    attack="URLs and paths that lead out of the model store",
    outcome="Refused",
)
@pytest.mark.parametrize(
    "url",
    [
        "",
        "..",
        "../iris",
        "/etc/passwd",
        "iris/..",
        "iris/latest",
        "iris/1/2",
        "iris/",
        "http://x/",
        "http://[x",
    ],
)
def test_another_url_is_refused(folder: Path, url: str) -> None:
    """No path leads out of the store."""
    with pytest.raises(InvalidModel, match="accepted: NAME") as caught:
        Store(folder).resolve(url)
    assert caught.value.field == "url"


def test_without_a_version_the_highest_counts(folder: Path, add: Add) -> None:
    """As a number; what is no version is passed over."""
    for version in ("1.9", "1.10", "old", ".git"):
        add(f"iris/{version}")
    (folder / "iris" / "2.0").mkdir()
    assert Store(folder).resolve("iris").version == "1.10"


def test_a_version_is_named_by_the_url_or_beside_it(folder: Path, add: Add) -> None:
    """Not by both in different ways."""
    add("iris/1.0")
    add("iris/2.0")
    assert Store(folder).resolve("iris/1.0").version == "1.0"
    assert Store(folder).resolve("iris.mar", "1.0").version == "1.0"
    assert Store(folder).resolve("iris/1.0", "1.0").version == "1.0"
    with pytest.raises(InvalidModel) as caught:
        Store(folder).resolve("iris/1.0", "2.0")
    assert caught.value.field == "version"


def test_a_version_that_is_missing_is_not_found(folder: Path, add: Add) -> None:
    """The text says which there are."""
    add("iris/1.0")
    with pytest.raises(ModelNotFound, match=r"no version '3' of the model iris; it has 1\.0"):
        Store(folder).resolve("iris/3")


@pytest.mark.parametrize("there", [True, False])
def test_a_model_that_is_nowhere_is_not_found(folder: Path, there: bool) -> None:
    """A store need not exist."""
    store = Store(folder if there else folder / "none")
    with pytest.raises(ModelNotFound, match="'tulip'"):
        store.resolve("tulip")
    with pytest.raises(ModelNotFound, match="'tulip'"):
        Store(None).resolve("tulip")


def test_a_built_in_model_comes_before_one_of_the_store(folder: Path, add: Add) -> None:
    """Nobody replaces face detection by a folder of its name."""
    add("face_detection/9.0")
    assert Store(folder).resolve("face_detection").source == Source("face_detection")
    assert Store(None).resolve("echo/1.0").source == Source("echo")
    with pytest.raises(ModelNotFound, match=r"it has 1\.0"):
        Store(folder).resolve("face_detection/9.0")


def test_an_installed_package_comes_after_the_store(
    folder: Path, add: Add, install: Callable[..., None]
) -> None:
    """Only its code says its version, and that is not run."""
    install(Point("iris"), Point("tulip"))
    add("iris/1.0")
    assert Store(folder).resolve("iris").source.kind == "echo"
    tulip = Store(folder).resolve("tulip")
    assert (tulip.version, tulip.source) == ("", Source("entry_point", None, {"entry_point": "tulip"}))
    assert Store(folder).resolve("tulip/2.0").version == "2.0"


def test_two_packages_with_one_name_are_refused(install: Callable[..., None]) -> None:
    """Which of them it is must not depend on an order that nobody sees; the same one twice is one."""
    install(Point("iris"), Point("iris", "other:Iris"))
    with pytest.raises(InvalidModel, match="Several"):
        Store(None).resolve("iris")
    install(Point("iris"), Point("iris"))
    assert Store(None).resolve("iris").name == "iris"


def test_the_list_is_of_what_can_be_resolved(folder: Path, add: Add, install: Callable[..., None]) -> None:
    """Or at least be tried: a folder with a damaged model.toml is among it."""
    install(Point("tulip"), Point("no name"))
    for key in ("iris/1.10", "iris/1.9", "_odd/1.0"):
        add(key)
    (folder / "file").touch()
    assert Store(folder).list() == ("face_detection", "echo", "iris/1.9", "iris/1.10", "tulip")
    assert Store(None).list() == ("face_detection", "echo", "tulip")


@pytest.mark.parametrize(
    ("text", "field", "why"),
    [
        ("", "kind", "kind is None; accepted: one of echo, onnx"),
        ('kind = "face_detection"', "kind", "accepted"),
        ('kind = ["onnx"]', "kind", "accepted"),
        ('kind = "echo"\nfile = "a.onnx"', "file", "'file' is no key of the kind echo; accepted: none"),
        ('kind = "onnx"\nflie = "a.onnx"', "flie", "accepted: file, batched"),
        ('kind = "onnx"\nfile = 3', "file", "file is 3; accepted: the name of a file"),
        ('kind = "onnx"\nfile = "b.onnx"', "file", "no such file"),
        ('kind = "onnx"\nfile = "."', "file", "no such file"),
        ('kind = "onnx"\nfile = "../1.0/a.onnx"', "file", "accepted"),
        ('kind = "onnx"\nfile = "/etc/passwd"', "file", "accepted"),
        ('kind = "onnx"\nfile = "a\\u0000"', "file", "accepted"),
        ('kind = "onnx"\nbatched = 1', "batched", "true or false"),
        ('kind = "image_classification"\nsize = [224]', "size", "height, width"),
        ('kind = "image_classification"\nsize = [224.0, 224.0]', "size", "height, width"),
        ('kind = "image_classification"\nmean = []', "mean", "a list of numbers"),
        ('kind = "image_classification"\nmean = [nan]', "mean", "a list of numbers"),
        ('kind = "image_classification"\ntop = true', "top", "a whole number"),
        ('kind = "image_classification"\nanswer = 1', "answer", "a text"),
        ('kind = "per_face"\nmargin = "wide"', "margin", "a number"),
        ('kind = "python"\nclass = "os.system"', "class", "module:Class"),
        ('kind = "echo"\nnice = 99', "nice", "accepted: a whole number from 0 to 19"),
        ('kind = "echo"\nmin_workers = 2\nmax_workers = 1', "max_workers", "at least min_workers"),
        ("kind = echo", None, "no TOML"),
        ("a = " + "[" * 20000, None, "no TOML"),
        ("#" * 70000, None, "longer than 65536 bytes"),
    ],
)
def test_a_model_toml_that_cannot_be_meant_is_refused(
    folder: Path, add: Add, text: str, field: str | None, why: str
) -> None:
    """With the key, what is accepted, and whose file it is."""
    add("iris/1.0", text, "a.onnx")
    with pytest.raises(InvalidModel) as caught:
        Store(folder).resolve("iris")
    assert why in caught.value.detail
    assert caught.value.detail.startswith("model.toml of iris/1.0: ")
    assert caught.value.field == field
    assert str(folder) not in caught.value.detail


def test_a_model_toml_that_is_no_text_is_refused(folder: Path, add: Add) -> None:
    """TOML is UTF-8."""
    (add("iris/1.0") / "model.toml").write_bytes(b"kind = '\xff'")
    with pytest.raises(InvalidModel, match="UTF-8"):
        Store(folder).resolve("iris")


@pytest.mark.security(
    endpoint="files",
    attack=("Links in the model store that lead out of it: folders, `model.toml`, files that it names"),
    outcome="Refused; links within the store are followed",
)
def test_links_lead_nowhere_else(folder: Path, add: Add, tmp_path: Path) -> None:
    """Neither a version's folder, nor its model.toml, nor a file that it names; within the store they may."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "model.toml").write_text('kind = "echo"')
    (tmp_path / "outside" / "a.onnx").touch()
    (add("iris/1.0", 'kind = "onnx"\nfile = "a.onnx"') / "a.onnx").symlink_to(tmp_path / "outside" / "a.onnx")
    (add("loop/1.0", 'kind = "onnx"\nfile = "a.onnx"') / "a.onnx").symlink_to("a.onnx")
    (folder / "iris" / "2.0").symlink_to(tmp_path / "outside")
    (folder / "iris" / "3.0").mkdir()
    (folder / "iris" / "3.0" / "model.toml").symlink_to(tmp_path / "outside" / "model.toml")
    add("good/1.0")
    (folder / "iris" / "4.0").symlink_to(folder / "good" / "1.0")
    store = Store(folder)
    for url in ("iris/1.0", "iris/2.0", "iris/3.0", "loop/1.0"):
        with pytest.raises(InvalidModel, match="link"):
            store.resolve(url)
    assert store.resolve("iris/4.0").source.kind == "echo"


def test_a_store_below_a_link_is_a_store(folder: Path, add: Add, tmp_path: Path) -> None:
    """The operator has made that link."""
    version = add("iris/1.0", 'kind = "onnx"\nfile = "a.onnx"', "a.onnx")
    (tmp_path / "models").symlink_to(folder)
    assert Store(tmp_path / "models").resolve("iris").source.folder == version


def test_a_store_that_cannot_be_read_is_said(folder: Path, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the path of a file."""
    add("iris/1.0")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(FacetError) as caught:
        Store(folder).resolve("iris")
    assert caught.value.detail == "The store cannot be read: Permission denied"


def test_a_class_is_given_keys_of_its_own(tmp_path: Path) -> None:
    """What they mean is known to its author alone."""
    folder = tmp_path / "tuned" / "1.0"
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text('kind = "python"\nclass = "package:Model"\nlimit = 3\n')
    options = Store(tmp_path).resolve("tuned").source.options
    assert options == {"class": "package:Model", "limit": 3}
