"""`make sbom`: write what serves, with versions and licences, as a CycloneDX document.

It has the packages that the lock of what serves has for this machine, and what Facet carries itself. The same
packages give the same bytes.
"""

import sys
from importlib.metadata import Distribution, distribution
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.locks import NATIVE, ROOT, SERVE, applies, pins
from utils.version import VERSION

DOCUMENT = ROOT / "sbom.cdx.json"

SWAGGER_UI = "5.35.0"
"""The release whose files are in gateway/static/swagger-ui."""

LICENCES = {
    "blinker==1.9.0": "MIT",
    "cloudpickle==3.1.2": "BSD-3-Clause",
    "flatbuffers==25.12.19": "Apache-2.0",
    "h11==0.16.0": "MIT",
    "honcho==2.0.0": "MIT",
    "itsdangerous==2.2.0": "BSD-3-Clause",
    "jinja2==3.1.6": "BSD-3-Clause",
    "lz4==4.4.5": "BSD-3-Clause",
    "mtcnn==1.0.0": "MIT",
    "onnxruntime==1.31.1": "MIT",
    "pi-heif==1.4.0": "BSD-3-Clause AND LGPL-3.0-only",
    "protobuf==7.36.2": "BSD-3-Clause",
    "uvloop==0.23.0": "Apache-2.0 OR MIT",
    "waitress==3.0.2": "ZPL-2.1",
}
"""What the licence files or classifiers of packages without an SPDX expression in their metadata say."""


def main() -> int:
    """Write the document; gives the exit status."""
    try:
        document = sbom()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    DOCUMENT.write_text(document)
    print(DOCUMENT.relative_to(ROOT))
    return 0


def sbom() -> str:
    """The document.

    Raises:
        ValueError: A package is not installed in the version of the lock, or its licence is unknown.
    """
    facet = _component("Facet", VERSION, "MIT", "generic", ComponentType.APPLICATION)
    [nanobind] = [pin.version for pin in pins(NATIVE) if pin.name == "nanobind"]
    carried = [
        _component("swagger-ui-dist", SWAGGER_UI, "Apache-2.0", "npm"),
        _component("nanobind", nanobind, "BSD-3-Clause"),  # linked into the native engine
    ]
    locked = [pin for pin in pins(SERVE) if applies(pin.requirement)]
    packages = {pin.name: _installed(pin.name, pin.version) for pin in locked}
    components = {
        name: _component(name, package.version, licence(package)) for name, package in packages.items()
    }

    bom = Bom(components=[*carried, *components.values()])
    bom.metadata.component = facet
    bom.metadata.timestamp = None  # type: ignore[assignment]  # it may be left out of a document
    bom.serial_number = uuid5(NAMESPACE_URL, " ".join(str(each.purl) for each in (facet, *bom.components)))
    direct = [components[pin.name] for pin in locked if pin.inputs]
    bom.register_dependency(facet, [*carried, *direct])
    for name, package in packages.items():
        needed = map(Requirement, package.requires or ())
        bom.register_dependency(
            components[name],
            [components[canonicalize_name(other.name)] for other in needed if applies(other)],
        )
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def licence(package: Distribution) -> str:
    """A package's, as an SPDX expression.

    Raises:
        ValueError: Neither its metadata nor LICENCES have it.
    """
    named = f"{canonicalize_name(package.name)}=={package.version}"
    expression = package.metadata["License-Expression"] or LICENCES.get(named)
    if expression is None:
        raise ValueError(
            f"{named} states no SPDX expression: read its licence and add it to scripts/write_sbom.py"
        )
    return str(expression)


def _installed(name: str, version: str) -> Distribution:
    package = distribution(name)
    if package.version != version:
        raise ValueError(f"{name} {package.version} is installed, the lock has {version}: run `make setup`")
    return package


def _component(
    name: str,
    version: str,
    expression: str,
    source: str = "pypi",
    kind: ComponentType = ComponentType.LIBRARY,
) -> Component:
    return Component(
        name=name,
        version=version,
        type=kind,
        bom_ref=f"{name}@{version}",
        licenses=[LicenseFactory().make_from_string(expression)],
        purl=PackageURL(source, name=name, version=version),
    )


if __name__ == "__main__":
    sys.exit(main())
