"""The page at / in a browser: pictures given in every way, their faces where they are, failures in words.

    PAGE_PICTURES=docs .venv/bin/python -m pytest tests/system/test_page.py

also takes the pictures of the page that the documentation shows.
"""

import http.client
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import ExifTags, Image
from selenium.webdriver.common.keys import Keys

from tests.support import gateway_process, pictures
from tests.support.browser import PHONE, Browser, chromium, tab
from tests.support.facet import Facet, facet
from tests.support.fake_backend import failing, fake_backend
from tests.support.keys import KeyFile
from tests.support.model_store import add_version
from tests.support.pictures import ASTRONAUT
from tests.support.processes import PATIENCE
from tests.support.tools import tool
from utils.api_keys import PREDICT
from utils.errors import QueueFull

MODEL = '''
"""A model whose input has a member of each kind that forms have fields for."""

from typing import Literal

from facet_serving import Model
from pydantic import BaseModel, Field


class Kinds(Model):
    description = "Says what it was given."

    class Input(BaseModel):
        file: bytes = Field(description="Of any kind")
        count: int = Field(ge=1, le=9)
        mode: Literal["plain", "loud"]
        words: list[str]
        share: float = 0.5
        doubled: bool = False
        note: str | None = None

    class Output(BaseModel):
        told: list[str]

    def predict(self, inputs):
        return [
            self.Output(told=[str(len(one.file)), *map(str, list(one.model_dump().values())[1:])])
            for one in inputs
        ]
'''
BOXES = """
    const image = document.getElementById("shown").getBoundingClientRect();
    return [...document.querySelectorAll("#overlay rect.line")].map((rect) => {
        const place = rect.getScreenCTM();
        const {x, y, width, height} = rect.getBBox();
        const point = (x, y) => [place.a * x + place.e - image.left, place.d * y + place.f - image.top];
        return [...point(x, y), ...point(x + width, y + height)];
    });
"""
"""Where the boxes are on the screen, from the corner of the picture."""
SHOWN = """
    const [image, side] = [document.getElementById("shown"), arguments[0]];
    const canvas = Object.assign(document.createElement("canvas"), {width: side, height: side});
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, side, side);
    return [...context.getImageData(0, 0, side, side).data];
"""
"""What the browser shows of the picture, as red, green, blue and opacity of each pixel."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facet]:
    """The whole service, with models to try."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "page_model.py").write_text(MODEL)
    add_version(folder / "store", "kinds/1.0", 'kind = "python"\nclass = "page_model:Kinds"\n')
    models = {"FACET_MODELS": "face_detection,echo,kinds", "FACET_MODEL_STORE": str(folder / "store")}
    with facet(PYTHONPATH=str(folder), **models) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose camera shows the portrait."""
    camera = tmp_path_factory.mktemp("camera") / "portrait.mjpeg"
    camera.write_bytes(pictures.encoded(pictures.group_photo(), "JPEG", quality=92))
    with chromium(camera) as running:
        yield running


@pytest.fixture
def page(browser: Browser, service: Facet) -> Iterator[Browser]:
    """The page, opened; nothing goes wrong in it, and it asks nobody else."""
    browser.open(f"http://{service.http}/")
    yield browser
    assert browser.console() == []
    own = (f"http://{service.http}/", f"blob:http://{service.http}/", "about:blank")
    assert [address for address in browser.requested() if not address.startswith(own)] == []


def answer_of(service: Facet, picture: bytes, **options: object) -> dict[str, Any]:
    """What the service says to a client that is no browser."""
    query = "&".join(f"{name}={quote(str(value))}" for name, value in options.items())
    connection = http.client.HTTPConnection(service.http, timeout=60)
    connection.request("POST", f"/predict?{query}", picture, {"Content-Type": "application/octet-stream"})
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def assert_boxes_are_right(page: Browser, answer: dict[str, Any]) -> None:
    """Each box of the answer is within a pixel of where it belongs on the screen."""
    size = page.run(
        "const {width, height} = document.getElementById('shown').getBoundingClientRect();"
        "return [width, height]"
    )
    across, down = size[0] / answer["image"]["width"], size[1] / answer["image"]["height"]
    expected = [
        [
            result["box"][corner][axis] * scale
            for corner in ("upLeft", "lowerRight")
            for axis, scale in (("x", across), ("y", down))
        ]
        for result in answer["results"]
    ]
    assert expected
    assert np.abs(np.array(page.run(BOXES)) - expected).max() < 1


def drawn(page: Browser, count: int) -> None:
    """Wait until so many faces are drawn."""
    page.wait_for(
        lambda: len(page.run("return [...document.querySelectorAll('#overlay g')].map(() => 0)")) == count,
        f"{count} faces; there is {page.text('summary')!r} {page.text('problem')!r}",
    )


def saved(folder: Path, name: str, content: bytes) -> Path:
    """A file of this content."""
    path = folder / name
    path.write_bytes(content)
    return path


def crowd() -> np.ndarray:
    """Heads in rows: 96 of them."""
    canvas = Image.new("RGB", (1200, 800), (120, 125, 130))
    small = pictures.head().resize((80, 100), Image.Resampling.LANCZOS)
    for column in range(12):
        for row in range(8):
            canvas.paste(small, (column * 100 + 10, row * 100))
    return np.asarray(canvas)


# --- pictures ---------------------------------------------------------------------------------------


def test_a_photograph_that_is_dropped_has_its_boxes_where_they_belong(page: Browser, service: Facet) -> None:
    """Within a pixel of the answer to any other client."""
    page.drop("drop", ASTRONAUT)
    drawn(page, 1)
    assert_boxes_are_right(page, answer_of(service, ASTRONAUT.read_bytes()))
    assert page.text("summary") == "1 face in astronaut.png"
    assert "512 \u00d7 512 pixels" in page.text("timings")
    page.run("document.querySelector('#overlay [tabindex]').focus()")
    page.picture("page")


def test_a_picture_may_be_chosen_or_pasted(page: Browser) -> None:
    """Pasting is what a browser makes of Ctrl+V with a picture on the clipboard."""
    page.choose(ASTRONAUT)
    drawn(page, 1)
    page.click("remove")
    drawn(page, 0)
    text = pictures.encoded(pictures.group_photo(), "PNG").hex()
    page.run(
        "const bytes = Uint8Array.from(arguments[0].match(/../g), (digits) => parseInt(digits, 16));"
        "const data = new DataTransfer();"
        "data.items.add(new File([bytes], 'pasted.png', {type: 'image/png'}));"
        "document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}));",
        text,
    )
    page.wait_for_text("summary", "faces in pasted.png")


@pytest.mark.parametrize(
    ("form", "orientation"),
    [("JPEG", each) for each in range(2, 9)] + [("WEBP", 3), ("WEBP", 6), ("PNG", 4), ("PNG", 8)],
)
def test_a_picture_that_is_stored_turned_is_shown_upright_with_its_boxes(
    page: Browser, service: Facet, tmp_path: Path, form: str, orientation: int
) -> None:
    """As its EXIF orientation says; the face is where the boxes are."""
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    upright = Image.fromarray(pictures.portrait()).crop((0, 0, 512, 384))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"turned.{form.lower()}"
    upright.transpose(turned).save(path, form, exif=exif, quality=95)
    page.choose(path)
    drawn(page, 1)
    answer = answer_of(service, path.read_bytes())
    assert answer["image"] == {"width": 512, "height": 384, "exif_orientation": orientation}
    assert_boxes_are_right(page, answer)
    shown = np.array(page.run(SHOWN, 32)).reshape(32, 32, 4)[:, :, :3]
    expected = np.asarray(upright.resize((32, 32), Image.Resampling.BOX))
    assert np.abs(shown - expected).mean() < 12


def test_a_picture_that_the_browser_cannot_show_is_shown_as_the_service_draws_it(
    page: Browser, service: Facet, tmp_path: Path
) -> None:
    """With its boxes where they belong, although it comes reduced."""
    large = Image.fromarray(pictures.group_photo()).resize((1600, 1200))
    path = saved(tmp_path, "scan.tif", pictures.encoded(np.asarray(large), "TIFF"))
    answer = answer_of(service, path.read_bytes())
    page.choose(path)
    drawn(page, len(answer["results"]))
    assert page.run("return document.getElementById('shown').naturalWidth") == 1280
    assert_boxes_are_right(page, answer)
    assert "annotated" not in page.run("return document.getElementById('json').textContent")


@pytest.mark.skipif(not os.environ.get("PHOTOS_DIR"), reason="PHOTOS_DIR names no folder of photographs")
def test_a_photograph_of_a_phone_in_heic_is_shown(page: Browser) -> None:
    """Although Chromium cannot show such files."""
    page.choose(Path(os.environ["PHOTOS_DIR"]) / "odd_images/exif_samples/heic/IMG_5195.HEIC")
    page.wait_for_text("summary", "in IMG_5195.HEIC")
    assert page.run("return document.getElementById('shown').naturalWidth") > 0


def test_the_picture_can_be_saved_with_its_boxes(page: Browser, tmp_path: Path) -> None:
    """As the service draws it, in its own size."""
    page.save_into(tmp_path)
    page.choose(ASTRONAUT)
    drawn(page, 1)
    page.click("save")
    path = tmp_path / "astronaut with boxes.jpg"
    page.wait_for(path.exists, "the file")
    with Image.open(path) as image:
        assert (image.format, image.size) == ("JPEG", (512, 512))
        difference = np.abs(np.asarray(image, np.int16) - pictures.portrait()).max(2)
    assert (difference > 100).any()


def test_several_pictures_have_each_their_own_outcome(page: Browser, service: Facet, tmp_path: Path) -> None:
    """In the order in which they were given; any of them can be looked at."""
    group = saved(tmp_path, "group.jpg", pictures.encoded(pictures.group_photo(), "JPEG"))
    empty = saved(tmp_path, "wall.png", pictures.png(np.full((80, 120, 3), 200, np.uint8)))
    text = saved(tmp_path, "notes.txt", b"no picture")
    page.choose(ASTRONAUT, group, empty, text)
    found = len(answer_of(service, group.read_bytes())["results"])

    def labels() -> list[str]:
        names: list[str] = page.run(
            "return [...document.querySelectorAll('#strip button')].map((one) => one.ariaLabel)"
        )
        return names

    expected = [
        "astronaut.png: 1 face",
        f"group.jpg: {found} faces",
        "wall.png: no face",
        "notes.txt: failed",
    ]
    page.wait_for(lambda: labels() == expected, f"{expected}, not {labels()}")
    page.run("document.querySelectorAll('#strip button')[1].click()")
    drawn(page, found)
    assert_boxes_are_right(page, answer_of(service, group.read_bytes()))
    page.run("document.querySelectorAll('#strip button')[2].click()")
    page.wait_for_text("summary", "No face in wall.png")
    page.click("clear")
    assert not page.element("work").is_displayed()


def test_a_crowd_can_be_walked_through_by_keys(page: Browser, service: Facet, tmp_path: Path) -> None:
    """It is one stop for Tab; each face says its confidence and size."""
    path = saved(tmp_path, "crowd.jpg", pictures.encoded(crowd(), "JPEG", quality=90))
    answer = answer_of(service, path.read_bytes())
    count = len(answer["results"])
    assert count > 80
    page.choose(path)
    drawn(page, count)
    assert_boxes_are_right(page, answer)
    page.run("document.querySelector('#overlay [tabindex=\"0\"]').focus()")
    assert page.focused().startswith(f"Face 1 of {count}: confidence ")
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert page.focused().startswith(f"Face 3 of {count}: ")
    assert page.text("tip").startswith("Face 3: ")
    page.press(Keys.END, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert page.focused().startswith(f"Face {count - 1} of {count}: ")
    page.press(Keys.HOME)
    page.press(Keys.ESCAPE)
    assert not page.element("tip").is_displayed()
    page.press(Keys.TAB)
    assert "Face" not in page.focused()


def test_the_answer_can_be_copied_as_json(page: Browser, service: Facet) -> None:
    """The whole of it."""
    answer = answer_of(service, ASTRONAUT.read_bytes())
    page.choose(ASTRONAUT)
    drawn(page, 1)
    page.run(
        "Object.defineProperty(navigator, 'clipboard',"
        " {value: {writeText: (text) => Promise.resolve(window.copied = text)}})"
    )
    page.click("copy")
    page.wait_for_text("summary", "Copied.")
    assert json.loads(page.run("return window.copied"))["results"] == answer["results"]


def test_the_command_does_the_same_whatever_the_file_is_called(
    page: Browser, service: Facet, tmp_path: Path
) -> None:
    """In a shell, in the folder of the file."""
    tool("curl", "curl")
    answer = answer_of(service, ASTRONAUT.read_bytes())
    for name in ("portrait.png", """it's a "b";c, $HOME\\d.png"""):
        page.choose(saved(tmp_path, name, ASTRONAUT.read_bytes()))
        page.wait_for_text("summary", f"1 face in {name}")
        command = page.run("return document.getElementById('command').textContent")
        typed = ["/bin/sh", "-c", command]
        done = subprocess.run(typed, cwd=tmp_path, capture_output=True, timeout=60, check=True)
        assert json.loads(done.stdout)["results"] == answer["results"]


# --- options ----------------------------------------------------------------------------------------


def test_options_take_effect_while_they_are_changed(page: Browser, service: Facet, tmp_path: Path) -> None:
    """The newest holds; what is out of range is not sent, and said."""
    group = saved(tmp_path, "group.jpg", pictures.encoded(pictures.group_photo(), "JPEG"))
    page.choose(group)
    drawn(page, len(answer_of(service, group.read_bytes())["results"]))
    page.fill("max_faces", "2")
    drawn(page, 2)
    assert "-F max_faces=2" in page.run("return document.getElementById('command').textContent")
    large = answer_of(service, group.read_bytes(), min_face_size=100)
    page.fill("max_faces", "")
    page.fill("min_face_size", "100")
    drawn(page, len(large["results"]))
    assert_boxes_are_right(page, large)
    page.requested()
    page.fill("min_face_size", "9")
    page.wait_for_text("options-problem", "Smallest face, px: a whole number from 10 to 2000.")
    page.click("defaults")
    page.wait_for(lambda: not page.text("options-problem"), "no complaint")
    drawn(page, len(answer_of(service, group.read_bytes())["results"]))
    assert [address for address in page.requested() if "min_face_size" in address] == []


def test_a_request_that_was_overtaken_is_given_up(browser: Browser) -> None:
    """So that the service has no work with it."""
    with fake_backend() as backend, gateway_process.gateway(backend.target) as gateway:
        backend.answer = backend.hold
        browser.open("http://{}:{}/".format(*gateway.address))
        browser.choose(ASTRONAUT)
        assert backend.began.acquire(timeout=PATIENCE)
        browser.fill("max_faces", "2")
        assert backend.began.acquire(timeout=PATIENCE)
        assert backend.cancelled.wait(PATIENCE / 2)  # sooner than its time is over
        assert [call.message.options.max_faces for call in backend.calls] == [0, 2]


# --- failures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no picture", "This is no picture, or in a format that is not accepted."),
        (b"", "The file is empty."),
        (ASTRONAUT.read_bytes()[:200_000], "The picture is damaged or incomplete."),
        (bytes(11 * 2**20), "The file is too large."),
    ],
    ids=["text", "empty", "cut", "large"],
)
def test_what_cannot_be_answered_is_told_in_words(
    browser: Browser, service: Facet, tmp_path: Path, content: bytes, words: str
) -> None:
    """With what the service says, and the number under which its log has it."""
    browser.open(f"http://{service.http}/")
    browser.choose(saved(tmp_path, "odd.png", content))
    browser.wait_for_text("problem", words)
    assert "Request " in browser.text("problem")
    assert browser.element("problem").get_attribute("role") == "alert"


def test_a_large_file_shows_how_much_of_it_has_been_sent(page: Browser) -> None:
    """Until it all has."""
    page.upload_at(400_000)
    page.choose(ASTRONAUT)
    page.wait_for(lambda: 0 < page.run("return document.getElementById('progress').value") < 1, "a part")
    assert page.element("progress").is_displayed()
    page.upload_at(0)
    drawn(page, 1)
    assert not page.element("progress").is_displayed()


def test_what_is_no_file_is_not_taken(browser: Browser, service: Facet) -> None:
    """A link is never fetched, and a folder cannot be read."""
    browser.open(f"http://{service.http}/")
    browser.run(
        "const data = new DataTransfer(); data.setData('text/uri-list', 'http://elsewhere.example/a.jpg');"
        "document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true}));"
    )
    browser.wait_for_text("notice", "a link is never fetched")
    browser.drop("drop", ASTRONAUT.parent)
    browser.wait_for_text("problem", "The file cannot be read.")


def test_a_busy_service_is_asked_again_when_it_said(browser: Browser) -> None:
    """And the seconds until then are counted down."""
    busy = failing(QueueFull("Come again.", retry_after=2.0), times=2)
    with fake_backend(busy) as backend, gateway_process.gateway(backend.target) as gateway:
        browser.open("http://{}:{}/".format(*gateway.address))
        browser.choose(ASTRONAUT)
        browser.wait_for_text("summary", "The service is busy. Trying again in 1 s.")
        browser.wait_for(lambda: len(backend.calls) == 3, "the third call")


def test_a_service_that_is_away_is_told_and_can_be_tried_again(browser: Browser) -> None:
    """Without its backend, and without the gateway itself."""
    with gateway_process.gateway("127.0.0.1:1") as gateway:
        browser.open("http://{}:{}/".format(*gateway.address))
        browser.wait_for_text("notice", "The service is starting, or away.")
    browser.choose(ASTRONAUT)
    browser.wait_for_text("problem", "The service cannot be reached.")
    assert browser.element("retry").is_displayed()


# --- keys ---


def test_a_key_is_asked_for_where_one_is_needed_and_kept_until_the_tab_is_closed(
    browser: Browser, tmp_path: Path
) -> None:
    """A wrong one is asked for again; who gives none is told so, and may try again."""
    keys = KeyFile(tmp_path)
    with fake_backend() as backend, gateway_process.gateway(backend.target, **keys.environ) as gateway:
        address = "http://{}:{}/".format(*gateway.address)
        browser.open(address)
        browser.choose(ASTRONAUT)
        browser.wait_for_text("key-why", "The service wants a key.")
        assert browser.focused() == "key-value"
        browser.press(Keys.ESCAPE)
        browser.wait_for_text("problem", "The service wants a key.")
        secret = keys.add("reader", PREDICT)
        browser.click("retry")
        browser.wait_for(browser.element("key").is_displayed, "the question")
        browser.press("not", Keys.ENTER)
        browser.wait_for_text("key-why", "The service does not know this key.")
        browser.press(secret, Keys.ENTER)
        browser.wait_for(lambda: backend.calls, "a call with the key")
        browser.open(address)
        backend.calls.clear()
        browser.choose(ASTRONAUT)
        browser.wait_for(lambda: backend.calls, "a call with the key that is kept")
        browser.click("key-forget")
        assert not browser.element("key-forget").is_displayed()
        browser.choose(ASTRONAUT)
        browser.wait_for_text("key-why", "The service wants a key.")


# --- camera -----------------------------------------------------------------------------------------


def test_faces_before_the_camera_are_boxed_as_they_move(page: Browser) -> None:
    """Frame after frame; one of them can be taken as a picture."""
    page.click("camera-start")
    page.wait_for(lambda: page.run(BOXES.replace("shown", "video")), "a box")
    page.wait_for_text("timings", "in the service")
    page.click("camera-take")
    page.wait_for_text("summary", "in camera ")
    assert not page.element("video").is_displayed()
    assert page.run("return document.getElementById('video').srcObject") is None
    page.click("camera-start")
    page.wait_for(lambda: page.element("video").is_displayed(), "the video")
    page.click("camera-stop")
    assert not page.element("video").is_displayed()
    page.wait_for_text("summary", "in camera ")
    page.choose(ASTRONAUT)
    page.click("camera-start")
    page.wait_for(lambda: page.element("video").is_displayed(), "the video")
    page.run("document.querySelectorAll('#strip button')[1].click()")
    page.wait_for_text("summary", "1 face in astronaut.png")


def test_without_https_the_page_says_why_there_is_no_camera(browser: Browser, service: Facet) -> None:
    """Pictures are taken all the same."""
    browser.open(f"http://facet.example:{service.http.rpartition(':')[2]}/")
    assert "HTTPS" in browser.text("camera-note")
    assert not browser.element("camera-start").is_enabled()
    browser.choose(ASTRONAUT)
    drawn(browser, 1)
    browser.click("copy")
    browser.wait_for_text("summary", "Selected: copy it with Ctrl+C.")
    assert '"results"' in browser.run("return String(getSelection())")
    assert browser.console() == []


def test_frames_are_sent_one_at_a_time(page: Browser) -> None:
    """However slow the service is, and none is kept: a camera may be on for hours."""
    page.run(
        "window.listeners = 0;"
        "for (const [name, step] of [['addEventListener', 1], ['removeEventListener', -1]]) {"
        "  const method = AbortSignal.prototype[name];"
        "  AbortSignal.prototype[name] = function (...arguments) {"
        "    window.listeners += step;"
        "    method.apply(this, arguments);"
        "  };"
        "}"
        "const send = XMLHttpRequest.prototype.send; window.most = window.open_ = 0;"
        "XMLHttpRequest.prototype.send = function (body) {"
        "  window.most = Math.max(window.most, ++window.open_);"
        "  this.addEventListener('loadend', () => --window.open_);"
        "  send.call(this, body);"
        "};"
    )
    page.click("camera-start")
    page.requested()
    page.wait_for(lambda: len(page.run("return performance.getEntriesByType('resource')")) > 30, "frames")
    assert page.run("return window.most") == 1
    assert page.run("return window.listeners") < 5
    page.click("camera-stop")


# --- models -----------------------------------------------------------------------------------------


def test_a_model_is_tried_by_a_form_of_its_schema(page: Browser, tmp_path: Path) -> None:
    """With fields for files, numbers, choices and JSON; what is not valid is said at its field."""
    page.run("location.hash = 'models'")
    page.wait_for(lambda: "kinds 1.0" in page.text("model"), "the models")
    page.select("model", "models/kinds/1.0")
    page.wait_for_text("model-about", "Says what it was given.")
    page.wait_for_text("input", "count")
    send = "document.querySelector('#input [type=submit]').click()"
    page.run(send)
    page.wait_for_text("input-file-problem", "A file is needed.")
    page.choose(saved(tmp_path, "five.bin", b"12345"), name="input-file")
    page.fill("input-count", "12")
    page.fill("input-words", '["a", "b"]')
    page.run(send)
    page.wait_for_text("input-count-problem", "9")
    assert page.focused() == "input-count"
    page.fill("input-count", "3")
    page.fill("input-words", '["a", ')
    page.run(send)
    page.wait_for_text("input-words-problem", "This is no JSON")
    page.fill("input-words", '["a", "b"]')
    page.select("input-doubled", "true")
    page.run(send)
    page.wait_for_text("prediction-about", "kinds/1.0 answered in ")
    told = json.loads(page.text("prediction-json"))["told"]
    assert told == ["5", "3", "plain", "['a', 'b']", "0.5", "True", "None"]


def test_face_detection_is_a_model_like_others(page: Browser) -> None:
    """With a file for the picture."""
    page.run("location.hash = 'models'")
    page.wait_for_text("input", "repeat")
    page.select("model", "models/face_detection/1.0")
    page.wait_for_text("input", "image")
    page.choose(ASTRONAUT, name="input-image")
    page.run("document.querySelector('#input [type=submit]').click()")
    page.wait_for_text("prediction-json", '"confidence"')
    page.picture("page-models")


# --- everybody --------------------------------------------------------------------------------------


def test_a_phone_needs_no_scrolling_sideways(browser: Browser, service: Facet, tmp_path: Path) -> None:
    """The start, a picture with its faces, and the models."""
    fits = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    browser.open(f"http://{service.http}/", PHONE, prefers_color_scheme="dark")
    assert browser.run(fits)
    group = saved(tmp_path, "group.jpg", pictures.encoded(pictures.group_photo(), "JPEG"))
    browser.choose(ASTRONAUT, group)
    browser.wait_for_text("summary", "1 face in astronaut.png")
    browser.wait_for(lambda: "faces" in browser.text("strip"), "the other picture")
    assert browser.run(fits)
    browser.picture("page-phone")
    browser.run("location.hash = 'models'")
    browser.wait_for_text("input", "repeat")
    assert browser.run(fits)


def test_the_page_is_dark_where_the_reader_likes_it_dark(browser: Browser, service: Facet) -> None:
    """And light where not."""
    ground = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    browser.open(f"http://{service.http}/", prefers_color_scheme="light")
    assert min(browser.run(ground)) > 200
    browser.open(f"http://{service.http}/", prefers_color_scheme="dark")
    assert max(browser.run(ground)) < 50
    browser.choose(ASTRONAUT)


def test_everything_can_be_reached_by_tab(page: Browser) -> None:
    """In the order in which it is read, and it is seen what has the focus."""
    page.choose(ASTRONAUT)
    drawn(page, 1)
    page.run("document.activeElement.blur()")
    met = tab(page, "defaults")
    for one in ("Faces", "files", "camera-start", "save", "copy", "remove", "min_face_size", "max_faces"):
        assert one in met, met
    assert any(name.startswith("Face 1 of 1: confidence 99.91 %, 83 \u00d7 107 px") for name in met), met
    assert met.index("files") < met.index("save") < met.index("min_face_size")
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_everything_has_a_name_for_a_screen_reader(page: Browser) -> None:
    """What is operated, and what is looked at; the outcome is announced."""
    assert page.unnamed() == []
    page.choose(ASTRONAUT)
    drawn(page, 1)
    page.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.unnamed() == []
    assert page.run("return document.getElementById('news').textContent") == "astronaut.png: 1 face"
    page.run("location.hash = 'models'")
    page.wait_for_text("input", "repeat")
    assert page.unnamed() == []
