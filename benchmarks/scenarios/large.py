"""Large: what a photograph of 12 megapixels takes, by the smallest face that is looked for."""

from collections import defaultdict
from statistics import median
from typing import Any

from benchmarks import servers
from benchmarks.drawings import DRAWINGS
from benchmarks.progress import step
from benchmarks.registry import Figures, Report, Scenario, table
from tests.support.pictures import encoded
from utils.domain import DetectOptions, DetectRequest, Timings
from utils.service_client import ServiceClient

WIDTH, HEIGHT = 4000, 3000
FACE_SIZES = (20, 40, 80, 160)
"""Of `min_face_size`, in pixels; the first is the default."""
_TIMINGS = ("decode_ms", "detect_ms", "total_ms")

METHOD = f"""
The backend with one worker, one client, one call at a time: JPEG files of {WIDTH} x {HEIGHT} pixels, drawn
from the portrait in `examples/`; `few` shows one face, `many` a crowd. Each is sent with every
`min_face_size` in turn. Milliseconds are the medians of the answers' own `timings`.
"""


def run(_quick: bool, repeats: int) -> Figures:
    """Send both pictures with every size, round by round."""
    found: defaultdict[tuple[str, int], list[Timings]] = defaultdict(list)
    files = {name: encoded(draw(WIDTH, HEIGHT), "JPEG", quality=90) for name, draw in DRAWINGS.items()}
    with (
        servers.facet(1, sleeping=False, **servers.PATIENT) as (_, address),
        ServiceClient(address, timeout=120) as client,
        step("large: 12 megapixels", repeats * 8),
    ):
        for number in range(repeats + 1):
            for name, picture in files.items():
                for size in FACE_SIZES:
                    answer = client.detect(DetectRequest(picture, DetectOptions(min_face_size=size)))
                    if number:  # the first round fills caches
                        found[name, size].append(answer.timings)
    rows: list[dict[str, Any]] = [
        {
            "picture": name,
            "min_face_size": size,
            **{what: round(median(getattr(one, what) for one in timings), 1) for what in _TIMINGS},
        }
        for (name, size), timings in found.items()
    ]
    return {"parameters": {"rounds": repeats, "engine": answer.model.engine}, "rows": rows}


def report(figures: Figures) -> Report:
    """Decoding and detecting, for each picture and size."""
    head = ("picture", "min_face_size", *_TIMINGS)
    caption = f"Engine {figures['parameters']['engine']}:"
    return Report([], [table(figures["rows"], {name: name for name in head}, caption)])


SCENARIO = Scenario("A photograph of 12 megapixels, by min_face_size", METHOD, run, report, repeats=9)
