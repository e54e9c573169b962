"""Rules of `make sbom`: all that serves is in it, nothing else, and under licences that were looked at."""

import re
from importlib.metadata import Distribution, distribution
from pathlib import Path

import orjson
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from scripts.locks import SERVE, applies, pins
from scripts.write_sbom import LICENCES, SWAGGER_UI, licence, sbom
from tests.support.processes import ROOT

PERMISSIVE = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "MIT",
    "MIT-CMU",
    "PSF-2.0",
    "ZPL-2.1",
    "Zlib",
}
EXCEPTIONS = {
    "orjson": ({"MPL-2.0"}, "asks for the source of its own files alone; they are unchanged and on PyPI"),
    "pi-heif": ({"LGPL-3.0-only"}, "of libheif and libde265, shared libraries that a user can replace"),
}
"""Licences that are allowed for one package, and why."""


@pytest.fixture(scope="module")
def document() -> dict:
    """What the command writes."""
    made: dict = orjson.loads(sbom())
    return made


def licences(component: dict) -> set[str]:
    """The SPDX identifiers of a component."""
    [entry] = component["licenses"]
    stated = entry["expression"] if "expression" in entry else entry["license"]["id"]
    return set(re.findall(r"[\w.-]+", stated)) - {"AND", "OR"}


def test_the_document_is_valid_cyclonedx_and_the_same_each_time() -> None:
    """By the schema of its version."""
    text = sbom()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert sbom() == text


def test_it_has_each_package_of_what_serves_what_facet_carries_and_no_other(document: dict) -> None:
    """In the versions of the locks."""
    found = {component["purl"] for component in document["components"]}
    locked = {f"pkg:pypi/{pin.name}@{pin.version}" for pin in pins(SERVE) if applies(pin.requirement)}
    [nanobind] = [pin.version for pin in pins("requirements-native.txt") if pin.name == "nanobind"]
    assert found == locked | {f"pkg:pypi/nanobind@{nanobind}", f"pkg:npm/swagger-ui-dist@{SWAGGER_UI}"}
    assert f"npm pack swagger-ui-dist@{SWAGGER_UI} " in (ROOT / "docs" / "dependencies.md").read_text()


def test_each_component_is_there_because_of_facet(document: dict) -> None:
    """By what it depends on, from one package to the next."""
    needs = {entry["ref"]: set(entry.get("dependsOn", ())) for entry in document["dependencies"]}
    reached, found = set(), {document["metadata"]["component"]["bom-ref"]}
    while found:
        reached |= found
        found = {need for name in found for need in needs[name]} - reached
    assert reached == needs.keys()


def test_what_serves_is_under_permissive_licences_but_for_named_exceptions(document: dict) -> None:
    """A licence that is not in the list needs a look before its package is shipped."""
    beyond = {component["name"]: licences(component) - PERMISSIVE for component in document["components"]}
    assert {name: names for name, names in beyond.items() if names} == {
        name: names for name, (names, _) in EXCEPTIONS.items()
    }


def test_licences_are_written_down_only_where_a_package_states_none() -> None:
    """And for no version that is gone."""
    locked = {f"{pin.name}=={pin.version}" for pin in pins(SERVE)}
    assert LICENCES.keys() <= locked
    for named in LICENCES:
        assert distribution(named.partition("==")[0]).metadata["License-Expression"] is None, named


def test_a_package_whose_licence_nobody_has_looked_at_is_refused(tmp_path: Path) -> None:
    """Also in a new version of a package that is known."""
    for name, version in (("strange", "1.0"), ("waitress", "99.0")):
        folder = tmp_path / f"{name}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        with pytest.raises(
            ValueError, match=rf"{name}=={version} states no SPDX expression: read its licence"
        ):
            licence(Distribution.at(folder))
