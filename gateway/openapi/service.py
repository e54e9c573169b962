"""The paths of the gateway itself."""

from collections.abc import Iterable, Mapping

from gateway.openapi import failures
from gateway.openapi.elements import JSON, Element, answer, in_path, operation, schema

_TAG = "service"
_TEXT: Element = {"type": "string"}
_HTML = "text/html; charset=utf-8"
_FILE_TYPES = ("text/css; charset=utf-8", "text/javascript; charset=utf-8", "image/svg+xml")
_UNCHANGED: Element = {"description": "If-None-Match names what is there."}


def paths(files: Mapping[str, Iterable[str]]) -> dict[str, Element]:
    """Each path and its methods.

    Args:
        files: Of each page, by the folder below which they are served.
    """
    alive = answer("This process lives.", {JSON: schema("Alive")})
    ready = answer("The backend serves.", {JSON: schema("Ready")})
    version = answer("The release.", {JSON: schema("Version")})
    document = answer("An OpenAPI document.", {JSON: {"type": "object"}})
    page = answer("A page that shows this document.", {_HTML: _TEXT})
    about = answer(
        "What this is, and two commands; a page for clients that accept HTML.",
        {"text/plain; charset=utf-8": _TEXT, _HTML: _TEXT},
    )
    return {
        "/": _get("about", "Say what this is", about, stored=True),
        "/healthz": _get("healthz", "Whether this process lives; it asks nobody", alive),
        "/readyz": _get("readyz", "Whether requests may be sent here", ready, group=failures.READINESS),
        "/version": _get("version", "Which release this is", version),
        "/openapi.json": _get("describe", "This document", document, stored=True),
        "/docs": _get("docs", "This document as a page", page, stored=True),
        **{f"/{folder}/{{file}}": _file(folder, names) for folder, names in files.items()},
    }


def _file(folder: str, names: Iterable[str]) -> Element:
    """The files of one page."""
    file = answer("A file of that page.", dict.fromkeys(_FILE_TYPES, _TEXT))
    name = in_path("file", "Of the page.", enum=[*names])
    return _get(f"{folder}File", "What a page is made of", file, name, stored=True)


def _get(
    identifier: str,
    summary: str,
    success: Element,
    *parameters: Element,
    group: failures.Failures = failures.ANY,
    stored: bool = False,
) -> Element:
    answers = {"200": success} | ({"304": _UNCHANGED} if stored else {}) | group.answers()
    return {"get": operation(identifier, _TAG, summary, answers, parameters=parameters)}
