"""Rules of many pictures at once, through both endpoints: a caller's own patience bounds the queue."""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from PIL import Image

from tests.support.endpoints import http_request, post_raw
from tests.support.face_endpoints import ENDPOINTS
from tests.support.facet import Facet, facet
from tests.support.pictures import encoded, group_photo, portrait
from tests.support.processes import wait_until

_QUEUE_SECONDS = "0.1"


@pytest.fixture(scope="module")
def service() -> Iterator[Facet]:
    """Gateway and backend, with a short queue for those who name no time."""
    with facet(FACET_QUEUE_SECONDS=_QUEUE_SECONDS) as running:
        yield running


def large_photo() -> bytes:
    """Three megapixels, so that a dozen of them takes seconds."""
    file = io.BytesIO()
    Image.fromarray(group_photo()).resize((2000, 1500)).save(file, "JPEG", quality=90)
    return file.getvalue()


def refusal(service: Facet) -> dict[str, str] | None:
    """What a request that names no time is refused with; None where it is answered."""
    picture = encoded(portrait()[:200, :200], "JPEG")
    headers = {"Content-Type": "image/jpeg"}
    status, answered, body = http_request(service.http, "POST", "/predict", picture, headers)
    if status == 200:
        return None
    assert answered["retry-after"]
    said: dict[str, str] = json.loads(body)
    return said


@pytest.mark.parametrize(
    ("picture", "count"),
    [(large_photo(), 12), (encoded(portrait(), "JPEG"), 50)],
    ids=["a dozen large photographs", "a folder of photographs"],
)
def test_pictures_that_are_given_time_are_all_answered(service: Facet, picture: bytes, count: int) -> None:
    """All at once, each with a minute; who names no time is meanwhile refused, and told what helps."""
    alone = post_raw(service.http, picture, {}).faces  # now it is known what such a picture takes
    assert alone
    refusals: list[dict[str, str]] = []

    def refused() -> bool:
        said = refusal(service)
        refusals.extend([said] if said else [])
        return said is not None

    with ThreadPoolExecutor(count) as threads:
        sends = [
            threads.submit(partial(ENDPOINTS[endpoint], service, picture, {}, 60))
            for endpoint in ("raw", "raw", "raw", "client") * (count // 4 + 1)
        ][:count]
        wait_until(refused, "a request without a time is refused")
        answers = [send.result() for send in sends]
    assert [answer.reason for answer in answers] == [None] * count
    assert all(len(answer.faces or []) == len(alone) for answer in answers)
    assert refusals[0]["reason"] == "QUEUE_FULL"
    assert "X-Request-Timeout" in refusals[0]["detail"]
    wait_until(lambda: not refused(), "there is room again")
