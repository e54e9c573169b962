"""Rules of the names of models and versions."""

import pytest

from inference_server.catalogue.names import check_name, check_version, identifier, version_key
from utils.errors import InvalidModel


@pytest.mark.parametrize("name", ["a", "ResNet-34_v1.5", "9lives", "x" * 64])
def test_a_name_is_letters_digits_and_three_marks(name: str) -> None:
    """Up to 64 of them."""
    assert check_name(name) == name


@pytest.mark.security(
    endpoint="files",
    attack=(
        "Names of models with slashes, spaces or line breaks, with a dot or a hyphen in front, or of 65 "
        "characters"
    ),
    outcome="Refused",
)
@pytest.mark.parametrize("name", ["", ".a", "-a", "_a", "a/b", "a b", "ä", "a\n", "x" * 65])
def test_another_name_is_refused_with_its_field(name: str) -> None:
    """Which the caller can mend by what the text says."""
    with pytest.raises(InvalidModel, match="accepted") as caught:
        check_name(name)
    assert caught.value.field == "name"


@pytest.mark.parametrize("version", ["1", "1.0", "2026-01-31", "1.0rc1", "1" * 32])
def test_a_version_begins_with_a_digit(version: str) -> None:
    """And is no longer than 32 characters."""
    assert check_version(version) == version


@pytest.mark.parametrize("version", ["", "v1", ".1", "1/2", "1 0", "1+cu", "1" * 33, "1\n"])
def test_another_version_is_refused_with_its_field(version: str) -> None:
    """Which is not the name's."""
    with pytest.raises(InvalidModel, match="accepted") as caught:
        check_version(version)
    assert caught.value.field == "version"


def test_an_identifier_has_no_other_characters_than_protobuf_allows() -> None:
    """So two names can have the same one."""
    assert identifier("a-b") == identifier("a_b") == identifier("a.b") == "a_b"
    assert identifier("9lives") == "_9lives"
    assert identifier("Iris") == "Iris"


def test_versions_are_compared_as_numbers() -> None:
    """A part that is missing is lowest, one that is a word is highest."""
    versions = ["1.10", "1.9", "1", "1.0", "1.rc", "2", "1.9.1", "10"]
    assert sorted(versions, key=version_key) == ["1", "1.0", "1.9", "1.9.1", "1.10", "1.rc", "2", "10"]


def test_versions_that_compare_as_equal_have_an_order_all_the_same() -> None:
    """Whatever order they came in."""
    assert version_key("1.0") != version_key("1_0") != version_key("01.0")
