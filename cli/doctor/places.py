"""Where Facet keeps its files and listens, and what runs there already."""

import os
from collections.abc import Iterator
from pathlib import Path

from cli.doctor.findings import Finding
from cli.models.backend import Backend
from cli.serve import port_troubles
from inference_server.catalogue.commands import Status
from utils.errors import FacetError
from utils.settings import Settings, variable
from utils.tls import TlsUnusable, client_tls, server_tls

_FOLDERS = ("cache_dir", "state_dir")


def look_at_places(settings: Settings) -> Iterator[Finding]:
    """Folders, certificates, the backend that runs, or the addresses at which one would listen."""
    for name in _FOLDERS:
        yield _folder(name, getattr(settings, name))
    yield _store(settings.model_store)
    yield from _certificates(settings)
    try:
        answer = Backend(None).ask(Status())
    except FacetError as error:
        yield Finding("note", "backend", error.detail)
        yield from _addresses(settings)
        return
    text = f"{answer['state']}, process {answer['pid']}, engine {answer['engine']}"
    lacking = [group["name"] for group in answer["groups"] if group["ready"] < group["wanted"]]
    failed = [model["name"] for model in answer["models"] if model["failure"]]
    if lacking or failed:
        names = ", ".join(dict.fromkeys((*lacking, *failed)))
        yield Finding("warning", "backend", f"{text}; not whole: {names}", "`facet status` says what failed.")
    else:
        yield Finding("ok", "backend", text)


def _folder(name: str, folder: Path | None) -> Finding:
    if folder is None:
        return Finding(
            "warning", "folder", f"{variable(name)} is not set, and this user has no home", "Set it."
        )
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        if name == "cache_dir" and _has_networks(folder):
            return Finding("ok", "folder", f"{variable(name)}: {folder}, complete, so never written")
        return Finding(
            "error",
            "folder",
            f"{folder} cannot be written: {there} is not this user's to change",
            f"Set {variable(name)} to a folder that can, or let this user write there.",
        )
    return Finding("ok", "folder", f"{variable(name)}: {folder}")


def _has_networks(folder: Path) -> bool:
    from inference_server.detector.weights import models_ready  # noqa: PLC0415 - loads what computes

    return models_ready(folder)


def _store(folder: Path | None) -> Finding:
    if folder is None or not folder.is_dir():
        return Finding("note", "models", f"none of one's own: there is no folder {folder}")
    try:
        count = sum(entry.is_dir() for entry in folder.iterdir())
    except OSError as error:
        return Finding("error", "models", f"{folder}: {error.strerror}", "Let this user read it.")
    return Finding("ok", "models", f"{count} in {folder}")


def _certificates(settings: Settings) -> Iterator[Finding]:
    client = client_tls(settings)
    for what, files in (("server", server_tls(settings)), ("client", client.files if client else None)):
        if files is None:
            continue
        try:
            files.check()
        except TlsUnusable as error:
            yield Finding("error", "tls", str(error), "docs/running.md says what the files must be.")
        else:
            yield Finding("ok", "tls", f"the files of the {what} can be used")


def _addresses(settings: Settings) -> Iterator[Finding]:
    troubles = port_troubles(settings)
    for trouble in troubles:
        reason, _, helps = trouble.partition(". ")
        yield Finding("error", "address", f"{reason}.", helps)
    if not troubles:
        yield Finding("ok", "address", "all are free")
