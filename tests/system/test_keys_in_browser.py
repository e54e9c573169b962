"""Keys in a browser: the page of the admin process asks for one, and /docs sends one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import gateway_process
from tests.support.admin import managed
from tests.support.browser import Browser, chromium
from tests.support.fake_backend import fake_backend
from tests.support.keys import KeyFile
from utils.api_keys import MANAGE, PREDICT

CLICK = "const found = document.querySelector(arguments[0]); found?.click(); return Boolean(found);"
TYPE = """
    const field = document.querySelector(arguments[0]);
    const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
    set.call(field, arguments[1]);
    field.dispatchEvent(new Event("input", { bubbles: true }));
"""
"""Type as React notices it."""
READ = "return document.querySelector(arguments[0])?.textContent ?? '';"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests; its camera shows nothing."""
    with chromium(Path("/dev/null")) as made:
        yield made


def click(browser: Browser, selector: str) -> None:
    """Click what a selector finds, once it is there."""
    browser.wait_for(lambda: browser.run(CLICK, selector), selector)


def test_the_status_page_takes_the_key_as_a_password(tmp_path: Path, browser: Browser) -> None:
    """Under any name; without one there is no status."""
    keys = KeyFile(tmp_path)
    secret = keys.add("operators", MANAGE)
    with managed(tmp_path, **keys.environ, FACET_WORKERS="1") as served:
        address = f"{served.address}/statusz"
        browser.open(f"http://{address}")
        assert "ready" not in browser.run(READ, "body")
        browser.open(f"http://me:{secret}@{address}")
        browser.wait_for(lambda: "ready" in browser.run(READ, "body"), "the status")
        assert browser.console() == []


def test_the_description_sends_the_key_that_it_is_given(tmp_path: Path, browser: Browser) -> None:
    """By its button Authorize; before that a request is refused."""
    keys = KeyFile(tmp_path)
    secret = keys.add("shop", PREDICT)
    with fake_backend() as backend, gateway_process.gateway(backend.target, **keys.environ) as gateway:
        host, port = gateway.address
        browser.open(f"http://{host}:{port}/docs")
        models = "[id='operations-models-listModels']"
        click(browser, f"{models} button.opblock-summary-control")
        click(browser, f"{models} .try-out__btn")

        def execute() -> str:
            click(browser, f"{models} .execute")
            status = f"{models} .live-responses-table .response-col_status"
            browser.wait_for(lambda: browser.run(READ, f"{status}"), "an answer")
            return str(browser.run(READ, f"{models} .live-responses-table tbody .response-col_status"))

        assert execute().startswith("401")
        click(browser, ".auth-wrapper .authorize")
        browser.wait_for(
            lambda: browser.run("return document.querySelector('.modal-ux input') !== null"), "a field"
        )
        browser.run(TYPE, ".modal-ux input", secret)
        click(browser, ".modal-ux .authorize")
        click(browser, ".modal-ux .btn-done")
        click(browser, f"{models} .execute")
        browser.wait_for(lambda: execute().startswith("200"), "the models are listed")
