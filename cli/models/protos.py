"""`facet models protos`: what clients compile that call models by methods of their own."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import click

from cli.models.backend import Backend, asks_backend
from inference_server.catalogue.commands import DescribeModel, ListModels
from inference_server.catalogue.entries import ModelSettings, ModelVersion, Source, State
from inference_server.catalogue.names import FACE_DETECTION
from utils.errors import InvalidModel, ModelNotReady


@click.command()
@click.argument("name", required=False)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write each file below this folder, where import lines look for it, instead of printing them.",
)
@asks_backend
def protos(backend: Backend, name: str | None, output: Path | None) -> None:
    """Print the .proto files of models.

    Clients that are compiled call models by them: all that are served, or NAME. They describe the default
    versions. A model that has never been loaded is left out.
    """
    names = [name] if name else _names(backend)
    found = [version for one in names if (version := _version(backend, one)) is not None]
    if name and not found:
        raise ModelNotReady(f"{name} has never been loaded, so its messages are not known", field="name")
    for path, text in _files(found).items():
        if output is None:
            click.echo(f"// {path}\n{text}")
        else:
            target = output / _inside(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            click.echo(target)


def _names(backend: Backend) -> list[str]:
    return sorted({one["name"] for one in backend.ask(ListModels())["models"]})


def _version(backend: Backend, name: str) -> ModelVersion | None:
    """The default version of a model; None where it has none, or that was never loaded."""
    models = backend.ask(DescribeModel(name))["models"]
    described = next((one for one in models if one["default"]), None)
    card = None if described is None else _card(described)
    if described is None or card is None:
        return None
    return ModelVersion(
        name,
        described["version"],
        described["url"],
        Source(described["kind"]),
        ModelSettings(**described["settings"]),
        described["queue"],
        State(described["state"]),
        described["loaded_at_start"],
        card=card,
    )


def _card(described: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if described["name"] == FACE_DETECTION:  # the backend's workers make its card themselves
        from inference_server.models.face_messages import face_card  # noqa: PLC0415 - loads protobuf

        return face_card(FACE_DETECTION)
    card: Mapping[str, Any] | None = described["card"]
    return card


def _files(versions: Iterable[ModelVersion]) -> dict[str, str]:
    """The text of each file that clients need to call these versions, by its name, imported ones first."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto  # noqa: PLC0415

    from inference_server.api.typed_pool import FILE, typed_pool  # noqa: PLC0415 - loads gRPC
    from inference_server.models.proto_text import render  # noqa: PLC0415

    found: dict[str, str] = {}

    def add(file: Any) -> None:  # noqa: ANN401 - a FileDescriptor
        for imported in file.dependencies:
            add(imported)
        proto = FileDescriptorProto()
        file.CopyToProto(proto)
        found.setdefault(file.name, render(proto))

    add(typed_pool(versions).FindFileByName(FILE))
    return found


def _inside(path: str) -> str:
    """The path of a file, if it is below the folder: a card has it, and a model's process wrote that."""
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise InvalidModel(f"a model's file is called {path!r}; accepted: a path below the folder")
    return path
