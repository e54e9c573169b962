"""Rules of the page /docs, which is complete, as published, and asks nobody outside; and of /version."""

import gzip
import hashlib
import re

import pytest
from flask.testing import FlaskClient

from tests.support.processes import ROOT
from utils.version import VERSION

SWAGGER_UI = ROOT / "gateway" / "static" / "swagger-ui"
FILES = ["/docs/docs.js", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"]


def test_swagger_ui_is_as_it_was_published() -> None:
    """Each file, by the checksums of the package; there is no other."""
    published = [line.split() for line in (SWAGGER_UI / "SHA256SUMS").read_text().splitlines()]
    for checksum, name in published:
        path = SWAGGER_UI / name
        content = (
            path.read_bytes() if path.exists() else gzip.decompress((SWAGGER_UI / f"{name}.gz").read_bytes())
        )
        assert hashlib.sha256(content).hexdigest() == checksum, name
    names = {path.name.removesuffix(".gz") for path in SWAGGER_UI.iterdir()}
    assert names == {"SHA256SUMS", *(name for _, name in published)}
    assert {"LICENSE", "NOTICE"} <= names


def test_the_page_loads_nothing_but_files_of_its_own(client: FlaskClient) -> None:
    """All are there, and what starts it stands in none of its elements."""
    page = client.get("/docs").get_data(as_text=True)
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert {f"/{name}" for name in loaded if name != "data:,"} == {*FILES}
    assert not re.search(r"<script>|<style|style=|\son\w+=|http", page)
    assert 'url: "openapi.json"' in client.get("/docs/docs.js").get_data(as_text=True)
    for path in FILES:
        assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/docs", *FILES])
def test_a_browser_lets_the_page_load_and_ask_nobody_else(client: FlaskClient, path: str) -> None:
    """No script that stands in it is run, and no other page may frame it."""
    response = client.get(path)
    policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "frame-ancestors": "'none'",
    }
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", *FILES])
def test_files_are_sent_compressed_to_those_who_take_that_and_once(client: FlaskClient, path: str) -> None:
    """Others get the same content; who has it is told that it is the same."""
    plain = client.get(path)
    compressed = client.get(path, headers={"Accept-Encoding": "br, gzip"})
    assert "Content-Encoding" not in plain.headers
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed.data) == plain.data
    assert plain.data
    for response in (plain, compressed):
        assert response.headers["Vary"] == "Accept-Encoding"
        assert response.headers["Cache-Control"] == "no-cache"
        again = client.get(path, headers={"If-None-Match": response.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
    refused = client.get(path, headers={"Accept-Encoding": "gzip;q=0"})
    assert refused.data == plain.data
    other = client.get(path, headers={"If-None-Match": '"another"'})
    assert other.status_code == 200


@pytest.mark.security(
    endpoint="gateway",
    attack="Paths to other files than those of `/docs`, also out of its folder",
    outcome="404",
)
@pytest.mark.parametrize("path", ["/docs/", "/docs/docs.html", "/docs/LICENSE", "/docs/../app.py", "/docs/x"])
def test_no_other_file_is_served(client: FlaskClient, path: str) -> None:
    """Names are looked up, and no folder is."""
    response = client.get("/", environ_overrides={"PATH_INFO": path})
    assert (response.status_code, response.get_json()["reason"]) == (404, "ROUTE_NOT_FOUND")


def test_the_release_is_the_one_of_the_document_and_the_changelog(client: FlaskClient) -> None:
    """There is one definition."""
    assert client.get("/version").get_json() == {"version": VERSION}
    assert client.get("/openapi.json").get_json()["info"]["version"] == VERSION
    heading = re.search(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading is not None
    assert heading[1] == ("Unreleased" if VERSION.endswith(".dev0") else VERSION)
