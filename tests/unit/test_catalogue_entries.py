"""Rules of the catalogue, as every process reads it."""

import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID
from zlib import crc32

import pytest

from inference_server.catalogue.entries import Catalogue, ModelSettings, ModelVersion, Source, State
from utils.errors import InvalidModel, ModelNotFound, ModelNotReady
from utils.metadata import request_id


def made(name: str = "iris", version: str = "1.0", state: State = State.READY) -> ModelVersion:
    """A version of a model."""
    source = Source("onnx", Path("/store/iris/1.0"), {"file": "model.onnx"})
    card = {"name": name, "operations": ["json"]}
    return ModelVersion(name, version, name, source, ModelSettings(), 1, state, True, card=card)


def catalogue(*versions: ModelVersion, canary: dict[str, int] | None = None) -> Catalogue:
    """These versions, of which the first is the default one."""
    return Catalogue(7, versions, {"iris": versions[0].version}, {"iris": canary} if canary else {})


def test_json_keeps_everything() -> None:
    """What a worker reads is what the supervisor wrote."""
    before = catalogue(made(), replace(made(version="2.0"), failure="no", workers=3), canary={"2.0": 10})
    assert Catalogue.from_json(before.to_json()) == before


def test_nothing_published_is_an_empty_catalogue() -> None:
    """Not an error of whoever looks early."""
    assert Catalogue.from_json(b"") == Catalogue()


def test_an_unknown_kind_is_not_read() -> None:
    """A file of another release, or one that somebody has written."""
    values = json.loads(catalogue(made()).to_json())
    values["versions"][0]["source"]["kind"] = "pickle"
    with pytest.raises(ValueError, match="pickle"):
        Catalogue.from_json(json.dumps(values).encode())


def test_a_call_that_names_no_version_gets_the_default_one() -> None:
    """Which is not always the highest."""
    assert catalogue(made(), made(version="2.0")).find("iris").version == "1.0"
    assert catalogue(made(), made(version="2.0")).find("iris", "2.0").version == "2.0"


def test_what_is_not_there_is_not_found() -> None:
    """With the member of the call that is at fault."""
    with pytest.raises(ModelNotFound, match="'tulip'") as caught:
        catalogue(made()).find("tulip")
    assert caught.value.field == "name"
    with pytest.raises(ModelNotFound, match=r"iris has no version '2\.0'") as caught:
        catalogue(made()).find("iris", "2.0")
    assert caught.value.field == "version"


@pytest.mark.parametrize(
    ("state", "why", "retry_after"),
    [
        (State.LOADING, "is loading", 1.0),
        (State.IDLE, "scaled up", None),
        (State.FAILED, "could not be loaded", None),
    ],
)
def test_a_version_that_does_not_serve_says_why(state: State, why: str, retry_after: float | None) -> None:
    """Waiting helps only where it loads."""
    with pytest.raises(ModelNotReady, match=why) as caught:
        catalogue(made(state=state)).find("iris")
    assert caught.value.retry_after == retry_after


def test_a_name_whose_first_version_loads_has_no_default() -> None:
    """The version may not even be known: its code says it."""
    loading = Catalogue(1, (made(version="", state=State.LOADING),))
    with pytest.raises(ModelNotReady, match="iris is loading"):
        loading.find("iris")


def test_canary_weights_choose_by_the_request_id() -> None:
    """As many percent as they say; the same id, the same version; who names a version gets that."""
    both = catalogue(made(), made(version="2.0"), canary={"2.0": 30})
    ids = [f"request-{number}" for number in range(1000)]
    chosen = {one: both.find("iris", request_id=one).version for one in ids}
    assert chosen == {one: "2.0" if crc32(f"iris{one}".encode()) % 100 < 30 else "1.0" for one in ids}
    assert 200 < list(chosen.values()).count("2.0") < 400
    assert {both.find("iris", "1.0", one).version for one in ids} == {"1.0"}


@pytest.mark.parametrize(
    "ids",
    [
        [request_id(None) for _ in range(10_000)],
        [f"request-{number}" for number in range(10_000)],
        [f"{number:08d}" for number in range(5_000_000, 5_010_000)],
        [str(UUID(int=number << 64 | 0x8000 << 48, version=4)) for number in range(10_000)],
    ],
    ids=["made by the gateway", "counted", "digits", "UUIDs that differ in a few digits"],
)
def test_a_canary_gets_its_share_of_many_calls(ids: list[str]) -> None:
    """Within two percent of all calls, whoever makes the ids."""
    both = catalogue(made(), made(version="2.0"), canary={"2.0": 10})
    chosen = [both.find("iris", request_id=each).version for each in ids]
    assert 800 <= chosen.count("2.0") <= 1200


def test_several_canaries_have_their_own_share() -> None:
    """One after the other; the rest is the default's."""
    three = catalogue(made(), made(version="2.0"), made(version="3.0"), canary={"2.0": 20, "3.0": 80})
    chosen = [three.find("iris", request_id=str(number)).version for number in range(1000)]
    assert set(chosen) == {"2.0", "3.0"}
    assert 100 < chosen.count("2.0") < 300


def test_a_canary_that_does_not_serve_is_stood_in_for() -> None:
    """A trial of a new version must not fail calls."""
    failed = catalogue(made(), made(version="2.0", state=State.FAILED), canary={"2.0": 100})
    assert failed.find("iris", request_id="any").version == "1.0"


def test_versions_are_listed_in_the_order_of_their_numbers() -> None:
    """Names in that of the alphabet."""
    some = catalogue(made(version="1.10"), made(version="1.9"), made("bee"))
    assert some.names() == ("bee", "iris")
    assert [one.version for one in some.of("iris")] == ["1.9", "1.10"]


def test_it_is_settled_when_nothing_loads_of_what_was_there_at_the_start() -> None:
    """A failure is an end of loading, too; what is registered later does not count."""
    assert not catalogue(made(state=State.LOADING)).is_settled
    assert catalogue(made(state=State.FAILED), made(state=State.IDLE)).is_settled
    assert catalogue(replace(made(state=State.LOADING), loaded_at_start=False)).is_settled


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_workers", -1),
        ("min_workers", 65),
        ("min_workers", True),
        ("min_workers", 1.0),
        ("max_batch", 0),
        ("max_batch", "8"),
        ("max_batch_delay", float("nan")),
        ("response_timeout", 0),
        ("startup_timeout", float("inf")),
        ("nice", 20),
        ("memory_bytes", None),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name(name: str, value: object) -> None:
    """With what came and what is accepted."""
    with pytest.raises(InvalidModel, match=rf"{name} is .*accepted") as caught:
        ModelSettings().with_changes({name: value})
    assert caught.value.field == name


def test_a_number_of_seconds_may_be_whole() -> None:
    """As people write it."""
    assert ModelSettings().with_changes({"response_timeout": 5}).response_timeout == 5


def test_a_setting_that_does_not_exist_is_refused() -> None:
    """A wrong spelling must not be without effect."""
    with pytest.raises(InvalidModel, match="'min_worker'"):
        ModelSettings().with_changes({"min_worker": 1})


def test_the_upper_bound_of_workers_grows_with_the_lower_unless_it_is_named() -> None:
    """So that one number is enough to scale up."""
    changes = {"min_workers": 3}
    assert ModelSettings().with_changes(changes).max_workers == 3
    assert changes == {"min_workers": 3}
    assert ModelSettings(max_workers=5).with_changes({"min_workers": 3}).max_workers == 5
    with pytest.raises(InvalidModel, match="max_workers is 2; accepted: at least min_workers, which is 3"):
        ModelSettings().with_changes({"min_workers": 3, "max_workers": 2})


def test_a_model_of_which_no_version_is_known_is_what_its_process_is() -> None:
    """A caller of one that cannot be loaded is not told to come back soon."""
    with pytest.raises(ModelNotReady, match="is loading"):
        catalogue(made(version="", state=State.LOADING)).find("iris")
    with pytest.raises(ModelNotReady, match="could not be loaded"):
        catalogue(made(version="", state=State.FAILED)).find("iris")


def test_a_batch_waits_for_less_time_than_it_has() -> None:
    """Or its process would be taken for hung."""
    with pytest.raises(InvalidModel, match="max_batch_delay is 5; accepted: less than response_timeout"):
        ModelSettings(max_batch_delay=5.0, response_timeout=1.0)
