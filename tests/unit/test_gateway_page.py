"""Rules of the page at /, for browsers: who gets it, what it is made of, and what it may do."""

import gzip
import re
from dataclasses import fields

import pytest
from flask.testing import FlaskClient

from gateway.routes.page import PAGE_FILES
from tests.support.gateway_fakes import FakeBackend, app_for
from utils.domain import DetectOptions

BROWSER = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7"
)
HTML = {"Accept": "text/html"}
FILES = [f"/page/{name}" for name in PAGE_FILES]
MOST_BYTES = 40 * 1024


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    """A gateway that no test here changes."""
    return app_for(FakeBackend()).test_client()


@pytest.mark.parametrize("accepted", [BROWSER, "text/html", "TEXT/HTML, */*", "text/html;q=0.2"])
def test_a_client_that_wants_html_gets_the_page(client: FlaskClient, accepted: str) -> None:
    """Such as every browser."""
    response = client.get("/", headers={"Accept": accepted})
    assert (response.status_code, response.content_type) == (200, "text/html; charset=utf-8")
    assert response.get_data(as_text=True).startswith("<!doctype html>")


@pytest.mark.parametrize(
    "accepted",
    [
        None,
        "",
        "*/*",
        "text/*",
        "text/plain",
        "application/json",
        "text/html;q=0",
        "text/plain, text/html",
        "?",
    ],
)
def test_any_other_client_gets_the_text(client: FlaskClient, accepted: str | None) -> None:
    """Such as curl, which takes anything."""
    response = client.get("/", headers={} if accepted is None else {"Accept": accepted})
    assert (response.status_code, response.content_type) == (200, "text/plain; charset=utf-8")
    assert "curl -F image=@photo.jpg" in response.get_data(as_text=True)


def test_caches_are_told_that_the_answer_depends_on_what_is_accepted(client: FlaskClient) -> None:
    """Of both forms; the page comes compressed, too."""
    assert client.get("/").headers["Vary"] == "Accept"
    page = client.get("/", headers=HTML)
    assert set(page.vary) == {"Accept", "Accept-Encoding"}
    again = client.get("/", headers={**HTML, "If-None-Match": page.headers["ETag"]})
    assert (again.status_code, set(again.vary)) == (304, {"Accept", "Accept-Encoding"})


@pytest.mark.security(
    endpoint="gateway",
    attack="The page in a frame of others, or with scripts of others",
    outcome="Forbidden by its Content-Security-Policy",
)
@pytest.mark.parametrize("path", ["/", *FILES])
def test_a_browser_lets_the_page_load_and_ask_this_server_alone(client: FlaskClient, path: str) -> None:
    """Pictures may also be those that it was given; no other page may frame it."""
    headers = client.get(path, headers=HTML).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob:",
        "connect-src": "'self'",
        "form-action": "'none'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", *FILES])
def test_files_come_compressed_and_once(client: FlaskClient, path: str) -> None:
    """From memory; who has a file is told that it is the same."""
    plain = client.get(path, headers=HTML)
    compressed = client.get(path, headers={**HTML, "Accept-Encoding": "gzip"})
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed.data) == plain.data
    assert compressed.headers["ETag"] == plain.headers["ETag"]
    again = client.get(path, headers={**HTML, "If-None-Match": plain.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_the_whole_page_is_small(client: FlaskClient) -> None:
    """All that a browser loads, compressed."""
    accepted = {**HTML, "Accept-Encoding": "gzip"}
    sizes = {path: len(client.get(path, headers=accepted).data) for path in ("/", *FILES)}
    assert sum(sizes.values()) < MOST_BYTES, sizes


def test_the_page_and_its_scripts_name_no_other_place(client: FlaskClient) -> None:
    """Every file that one of them names is there, every file that is there is named; nothing is inline."""
    page = client.get("/", headers=HTML).get_data(as_text=True)
    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=|https?:", page)
    named = set(re.findall(r'(?:src|href)="page/([^"]+)"', page))
    for path in FILES:
        text = client.get(path).get_data(as_text=True)
        named |= set(re.findall(r'from "\./([^"]+)"', text))
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|innerHTML|eval\(", text), path
    assert named == {*PAGE_FILES}


def test_the_options_of_the_page_have_the_ranges_and_defaults_that_are_enforced(client: FlaskClient) -> None:
    """Each option has a field, and there is no other."""
    page = client.get("/", headers=HTML).get_data(as_text=True)
    shown = {}
    for tag in re.findall(r'<input id="\w+" name="\w+"[^>]*>', page):
        told = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        default = float(told["value"]) if "value" in told else None
        shown[told["name"]] = (float(told["min"]), float(told["max"]), default)
    assert shown == {one.name: (*one.metadata["bounds"], one.default) for one in fields(DetectOptions)}


@pytest.mark.security(
    endpoint="gateway",
    attack="Paths to other files than those of the page, also out of its folder",
    outcome="404",
)
@pytest.mark.parametrize("path", ["/page", "/page/", "/page/page.html", "/page/../app.py", "/page/x.js"])
def test_no_other_file_is_served(client: FlaskClient, path: str) -> None:
    """Names are looked up, and no folder is."""
    response = client.get("/", environ_overrides={"PATH_INFO": path})
    assert (response.status_code, response.get_json()["reason"]) == (404, "ROUTE_NOT_FOUND")
