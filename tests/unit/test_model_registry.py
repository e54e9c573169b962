"""Rules of what a worker knows of the models."""

import pytest

from inference_server.api.registry import ModelRegistry
from inference_server.catalogue.entries import State
from inference_server.models.face_messages import face_card
from tests.support.models import Models, version
from utils.errors import ModelNotFound, ModelNotReady


def looked_at(*versions: object) -> tuple[Models, ModelRegistry]:
    """These models, and a worker's view on them."""
    models = Models(*versions)  # type: ignore[arg-type]
    return models, ModelRegistry(models.publication, face_card)


def test_a_change_is_seen_by_the_next_look() -> None:
    """Nobody has to tell that there is one."""
    models, registry = looked_at()
    assert registry.current().names() == ()
    models.publish(version("echo"))
    assert registry.find("echo").key == "echo/1.0"
    models.publish(version("echo", "2.0"))
    assert registry.find("echo").key == "echo/2.0"
    models.publish()
    with pytest.raises(ModelNotFound):
        registry.find("echo")


def test_what_has_not_changed_is_not_read_again() -> None:
    """A call looks at one word."""
    _, registry = looked_at(version("echo"))
    assert registry.current() is registry.current()


def test_before_anything_is_published_there_is_no_model() -> None:
    """As long as the supervisor has published none."""
    models, _ = looked_at()
    models.publication = models.publication.create()
    assert ModelRegistry(models.publication, face_card).current().names() == ()


def test_a_model_is_found_by_its_identifier() -> None:
    """Whose characters are those of its methods; another is refused by what was asked."""
    _, registry = looked_at(version("my-model.v2"))
    assert registry.name_of("my_model_v2") == "my-model.v2"
    with pytest.raises(ModelNotFound, match="my-model"):
        registry.name_of("my-model.v2")


def test_a_version_is_described_in_any_state() -> None:
    """The default one, or where there is none yet the highest, where none is named."""
    loading = version("new", "1.10", state=State.LOADING, card=None)
    models, registry = looked_at()
    models.publish(loading, version("new", "1.9", state=State.FAILED), defaults={})
    with pytest.raises(ModelNotReady):
        registry.find("new")
    assert registry.describe("new") == loading
    assert registry.describe("new", "1.9").state is State.FAILED
    for name, number in (("new", "2.0"), ("other", "")):
        with pytest.raises(ModelNotFound):
            registry.describe(name, number)
    assert registry.defaults() == []


def test_a_version_that_is_a_whole_number_is_also_that_with_zero_behind_it() -> None:
    """Where there is none of just this number, for callers whose protocol has no others."""
    _, registry = looked_at(version("echo", "1.0"), version("echo", "2"), version("echo", "2.0"))
    assert registry.find("echo", "1").version == registry.describe("echo", "1").version == "1.0"
    assert registry.find("echo", "2").version == "2"
    assert registry.find("echo", "2.0").version == "2.0"
    with pytest.raises(ModelNotFound, match="'3'"):
        registry.find("echo", "3")


@pytest.mark.parametrize("name", ["face_detection", "my-faces"])
def test_face_detection_has_its_card_wherever_it_is_listed(name: str) -> None:
    """Of the workers themselves, by the name that it is registered as."""
    _, registry = looked_at(version(name, queue=0, card=None))
    assert registry.find(name).card == face_card(name)
