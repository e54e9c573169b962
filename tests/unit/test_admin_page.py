"""Rules of the page that shows the backend's status to a person."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from flask import Flask

from inference_server.admin.app import create_app
from inference_server.catalogue.commands import Command
from tests.support.control_socket import described
from tests.support.dispatch import shared_stats
from utils.guard import Guard

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"


def status(text: str = "fine", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """What the supervisor says, with this text wherever somebody else's can be."""
    process = {"pid": 11, "slot": 0, "state": "ready", "started": 1.8e9, "memory_bytes": 50 << 20}
    model = described(text, text, state="failed", failure=text, description=text, kind=text)
    return {
        "state": "ready",
        "pid": 10,
        "started": 1.8e9,
        "uptime_seconds": 93_784.0,
        "memory_bytes": 20 << 20,
        "release": 3,
        "log_level": "INFO",
        "groups": [
            {"name": "workers", "wanted": 2, "ready": 1, "waiting": 7, "processes": [process]},
            {"name": text, "wanted": 1, "ready": 1, "waiting": None, "processes": [process]},
        ],
        "models": [model],
        "failures": [{"time": 1.8e9, "level": "error", "message": text, "fields": {text: text}}],
        **changes,
    }


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.texts.append(" " if tag in {"td", "th"} else "")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def shown(said: dict[str, Any]) -> tuple[Page, dict[str, str], str]:
    """The page of a status, its header fields and its text as it came."""

    def execute(_: Command) -> dict[str, Any]:
        return said

    app: Flask = create_app(execute, Guard([], None), shared_stats())
    answer = app.test_client().get("/statusz", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    return Page(answer.text), dict(answer.headers), answer.text


def test_it_shows_groups_failures_models_and_processes() -> None:
    """In words and units that a person reads."""
    page, _, _ = shown(status())
    for words in (
        "Facet is ready",
        "Supervisor 10, up 1 d 2 h, 20.0 MiB, 3 reloads, log level INFO. As of 2027-01-16 10:03:04 UTC.",
        "workers 11 ready 1 d 2 h 50.0 MiB",
        "workers 1 of 2 7 fine 1 of 1 no queue",
        "fine fine failed default 3 fine fine",
        "2027-01-15 08:00:00 UTC error fine fine: fine",
    ):
        assert words in page.text


def test_what_is_not_as_it_should_be_stands_first() -> None:
    """Before any table, also of many models; of a backend that lacks nothing nothing does."""
    page, _, _ = shown(status())
    before, _, _ = page.text.partition("Groups of processes")
    assert before.endswith("UTC. workers: 1 of 2 processes are ready. fine/fine is failed: fine ")
    page, _, _ = shown(status(groups=[], models=[]))
    assert "UTC. Groups of processes" in page.text


def test_of_a_new_backend_it_says_what_there_is_not() -> None:
    """No empty tables."""
    page, _, _ = shown(status(models=[], failures=[]))
    assert "None is registered." in page.text
    assert "There are none." in page.text


@pytest.mark.security(
    endpoint="admin-http",
    attack="Markup in names, descriptions and errors of models, shown at `/statusz`",
    outcome="Escaped",
)
def test_nothing_that_somebody_else_wrote_becomes_markup() -> None:
    """Neither a model's name or description, nor why it failed, nor a log line's field."""
    page, _, text = shown(status(HOSTILE))
    assert page.text.count("alert(1)") == 12
    assert {tag for tag, _ in page.elements} & {"script", "img"} == set()
    assert "<script>alert" not in text
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


@pytest.mark.security(
    endpoint="admin-http",
    attack="Scripts in `/statusz`, or the page in a frame of others",
    outcome="Forbidden by its Content-Security-Policy",
)
def test_it_loads_nothing_and_runs_nothing() -> None:
    """By its policy, and because there is nothing in it: the one style in it is named by its hash."""
    page, headers, text = shown(status())
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    for name in ("default-src", "base-uri", "form-action", "frame-ancestors"):
        assert policy[name] == "'none'"
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy["style-src"] == f"'sha256-{digest}'"
    assert not any({"src", "href", "style"} & attributes.keys() for _, attributes in page.elements)
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")


def test_its_tables_have_names_and_headings() -> None:
    """For those who do not see them."""
    page, _, _ = shown(status())
    ids = {attributes["id"] for tag, attributes in page.elements if tag == "h2"}
    tables = [attributes["aria-labelledby"] for tag, attributes in page.elements if tag == "table"]
    assert set(tables) == ids
    assert len(tables) == 4
    assert all("scope" in attributes for tag, attributes in page.elements if tag == "th")


@pytest.mark.parametrize("accept", ["application/json", "application/json, text/html;q=0.9", "application/*"])
def test_who_prefers_json_gets_it(accept: str) -> None:
    """The supervisor's own answer."""
    said = status()
    app: Flask = create_app(lambda _: said, Guard([], None), shared_stats())
    answer = app.test_client().get("/statusz", headers={"Accept": accept})
    assert (answer.mimetype, answer.json) == ("application/json", said)
