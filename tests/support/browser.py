"""A headless Chromium, and what a test asks of the page in it."""

import contextlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from tests.support.processes import PATIENCE, wait_until
from tests.support.tools import tool

DESKTOP = (1200, 800)
PHONE = (360, 740)
PICTURES = os.environ.get("PAGE_PICTURES", "")
"""The folder for the pictures of the documentation; none are taken where it is not named."""

_REFUSED = re.compile(r"the server responded with a status of 4\d\d")
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # which root, as in containers, cannot have
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--host-resolver-rules=MAP facet.example 127.0.0.1",  # a name that is not this machine's to the browser
)


class Browser:
    """One window. Names of elements are their ids."""

    def __init__(self, driver: Chrome) -> None:
        self._driver = driver
        self._console: list[str] = []

    def open(self, address: str, size: tuple[int, int] = DESKTOP, **features: str) -> None:
        """Open a page in a window of this size; features are those of media queries, with underscores."""
        self._driver.get("about:blank")
        self.requested()
        self.console()
        width, height = size
        self._tell(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self._tell("Emulation.setEmulatedMedia", {"features": named})
        self._driver.get(address)

    def run(self, script: str, *arguments: object) -> Any:  # noqa: ANN401 - JSON
        """The value of a function body in the page."""
        return self._driver.execute_script(script, *arguments)

    def element(self, name: str) -> WebElement:
        return self._driver.find_element("id", name)

    def text(self, name: str) -> str:
        """What can be read in an element, "" where it is hidden."""
        return self.element(name).text

    def click(self, name: str) -> None:
        self.element(name).click()

    def fill(self, name: str, text: str) -> None:
        """Type this instead of what a field has."""
        field = self.element(name)
        field.clear()
        field.send_keys(text)

    def select(self, name: str, value: str) -> None:
        """Choose one of the values of a field."""
        Select(self.element(name)).select_by_value(value)

    def press(self, *keys: str) -> None:
        """Press these keys, one after the other, wherever the focus is."""
        ActionChains(self._driver).send_keys(*keys).perform()

    def focused(self) -> str:
        """The id of what has the focus, or else its label."""
        element = self._driver.switch_to.active_element
        return element.get_attribute("id") or element.get_attribute("aria-label") or element.text

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        wait_until(lambda: bool(condition()), what)

    def wait_for_text(self, name: str, text: str) -> None:
        """Wait until an element has this text in it."""
        give_up = f"{text!r} in {name}"
        try:
            wait_until(lambda: text in self.text(name), give_up, PATIENCE / 2)
        except AssertionError as error:
            raise AssertionError(f"{error}; there is {self.text(name)!r}; {self.console()}") from error

    def choose(self, *files: Path, name: str = "files") -> None:
        """Choose files, as in the dialogue of the system."""
        self.element(name).send_keys("\n".join(map(str, files)))

    def drop(self, name: str, *files: Path) -> None:
        """Drag files from the desktop onto an element, and drop them."""
        place = self.run(
            "const {x, y, width, height} = document.getElementById(arguments[0]).getBoundingClientRect();"
            "return {x: x + width / 2, y: y + height / 2}",
            name,
        )
        data = {"items": [], "files": [*map(str, files)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self._tell("Input.dispatchDragEvent", {"type": kind, **place, "data": data})

    def upload_at(self, bytes_per_second: int) -> None:
        """Bound how fast the page can send; 0 for not at all."""
        self._tell(
            "Network.emulateNetworkConditions",
            {
                "offline": False,
                "latency": 0,
                "downloadThroughput": -1,
                "uploadThroughput": bytes_per_second or -1,
            },
        )

    def unnamed(self) -> list[str]:
        """What can be operated, but has no name for a screen reader."""
        roles = {"button", "link", "textbox", "spinbutton", "slider", "checkbox", "combobox", "image", "img"}
        nodes = self._driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        return [
            node["role"]["value"]
            for node in nodes
            if not node["ignored"] and node["role"]["value"] in roles and not node["name"]["value"]
        ]

    def save_into(self, folder: Path) -> None:
        """Have downloads lie there."""
        self._tell("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})

    def picture(self, name: str) -> None:
        """Take the picture of this name for the documentation, where it is wanted."""
        if PICTURES:
            with Image.open(io.BytesIO(self._driver.get_screenshot_as_png())) as taken:
                few_colours = taken.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
            few_colours.save(Path(PICTURES) / f"{name}.png", optimize=True)

    def console(self) -> list[str]:
        """Warnings and errors since the last call: of scripts, of the network, of the page's policy.

        Without those that only say that the server has refused something, which is for the page to tell.
        """
        entries = cast(list[dict[str, Any]], self._driver.get_log("browser"))  # type: ignore[no-untyped-call]
        messages = [entry["message"] for entry in entries if entry["level"] in {"WARNING", "SEVERE"}]
        return [message for message in messages if not _REFUSED.search(message)]

    def requested(self) -> list[str]:
        """Addresses of all requests since the last call."""
        entries = cast(list[dict[str, Any]], self._driver.get_log("performance"))  # type: ignore[no-untyped-call]
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def _tell(self, command: str, parameters: dict[str, Any]) -> None:
        self._driver.execute_cdp_cmd(command, parameters)


@contextlib.contextmanager
def chromium(camera: Path) -> Iterator[Browser]:
    """A browser whose camera shows this file, of pictures (.mjpeg)."""
    options = ChromeOptions()
    options.binary_location = tool("chromium", "chromium")
    for argument in (*_ARGUMENTS, f"--use-file-for-fake-video-capture={camera}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, ChromeService(tool("chromedriver", "chromium-driver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


def tab(browser: Browser, until: str, most: int = 40) -> Sequence[str]:
    """Press Tab until this has the focus; gives what had it on the way."""
    met: list[str] = []
    while browser.focused() != until:
        assert len(met) < most, f"Tab does not reach {until}: {met}"
        browser.press(Keys.TAB)
        met.append(browser.focused())
    return met
