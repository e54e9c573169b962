"""`facet models lock`: the numbers of the fields of a model's messages, for all of its versions."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.models.store import in_store
from inference_server.catalogue.names import check_name
from inference_server.catalogue.store import Resolved, Store

if TYPE_CHECKING:  # these load protobuf and pydantic
    from inference_server.models.lock import Entries, Lock


@click.command()
@click.argument("name")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write it, instead of the store; for a package's model, the package's folder of sources.",
)
@in_store
def lock(store: Path, name: str, output: Path | None) -> None:
    """Write the schema.lock of a model.

    It gives each field of the model's messages a number, which no later version may change. Every version in
    the store is loaded for it, the lowest first. Fields that a lock has already keep their numbers.
    """
    versions = _versions(Store(store), check_name(name))
    folder = versions[0].source.folder
    if output is None and folder is None:
        raise click.UsageError(
            f"{name} is not in the store: --output FILE says where to write its schema.lock"
        )
    known, added = _numbered(versions)
    path = output or _beside(folder)
    if added or not path.exists():
        _replace(path, known.to_json())
    for line in added or ["no field is new"]:
        click.echo(line)


def _versions(store: Store, name: str) -> list[Resolved]:
    stored = [url for url in store.list() if url.startswith(f"{name}/")]
    return [store.resolve(url) for url in stored or [name]]


def _numbered(versions: list[Resolved]) -> "tuple[Lock, list[str]]":
    """The lock with the fields of all versions, and what it has got for it."""
    from inference_server.models.loading import load_model, read_lock  # noqa: PLC0415
    from inference_server.models.lock import Lock  # noqa: PLC0415
    from inference_server.models.schema import Schema  # noqa: PLC0415

    known = read_lock(versions[0].source, complete=False) or Lock()
    before = set(_lines(known.entries))
    for version in versions:
        model = load_model(version.source)
        Schema(version.name, model.Input, model.Output, known)
    return known, [line for line in _lines(known.entries) if line not in before]


def _lines(entries: "Entries") -> Iterator[str]:
    for message, members in entries.items():
        for member, entry in members.items():
            yield f"{message}.{member} = {entry.number}"


def _beside(folder: Path | None) -> Path:
    from inference_server.models.lock import FILE_NAME  # noqa: PLC0415

    assert folder is not None
    return folder.parent / FILE_NAME


def _replace(path: Path, content: str) -> None:
    """Put the new file in the old one's place when it is whole."""
    written = path.with_name(f"{path.name}.new")
    written.write_text(content)
    written.replace(path)
