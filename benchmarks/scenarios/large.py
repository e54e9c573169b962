"""Large: what a photograph of 12 megapixels takes, by the smallest face that is looked for."""

from collections import defaultdict
from statistics import median
from typing import Any

from benchmarks import servers
from benchmarks.drawings import DRAWINGS
from benchmarks.progress import step
from benchmarks.registry import Figures, Report, Scenario, Table
from tests.support.pictures import encoded
from utils.domain import DetectOptions, DetectRequest, Timings
from utils.service_client import ServiceClient

WIDTH, HEIGHT = 4000, 3000
FACE_SIZES = (20, 40, 80, 160)
"""Of `min_face_size`, in pixels; the first is the default."""

METHOD = f"""
The backend with one worker, one client, one call at a time: JPEG files of {WIDTH} x {HEIGHT} pixels, drawn
from the portrait in `examples/`; `few` shows one face, `many` a crowd. Each is sent with every
`min_face_size` in turn. Milliseconds are the medians of the answers' own `timings`.
"""


def run(quick: bool) -> Figures:
    """Send both pictures with every size, round by round."""
    rounds = 1 if quick else 9
    found: defaultdict[tuple[str, int], list[Timings]] = defaultdict(list)
    files = {name: encoded(draw(WIDTH, HEIGHT), "JPEG", quality=90) for name, draw in DRAWINGS.items()}
    with (
        servers.facet(1, sleeping=False, **servers.PATIENT) as (_, address),
        ServiceClient(address, timeout=120) as client,
        step("large: 12 megapixels", rounds * 8),
    ):
        for number in range(rounds + 1):
            for name, picture in files.items():
                for size in FACE_SIZES:
                    answer = client.detect(DetectRequest(picture, DetectOptions(min_face_size=size)))
                    if number:  # the first round fills caches
                        found[name, size].append(answer.timings)
    rows: list[dict[str, Any]] = [
        {
            "picture": name,
            "min_face_size": size,
            "decode_ms": round(median(timing.decode_ms for timing in timings), 1),
            "detect_ms": round(median(timing.detect_ms for timing in timings), 1),
            "total_ms": round(median(timing.total_ms for timing in timings), 1),
        }
        for (name, size), timings in found.items()
    ]
    return {"parameters": {"rounds": rounds, "engine": answer.model.engine}, "rows": rows}


def report(figures: Figures) -> Report:
    """Decoding and detecting, for each picture and size."""
    head = ("picture", "min_face_size", "decode_ms", "detect_ms", "total_ms")
    rows: list[tuple[object, ...]] = [tuple(row[name] for name in head) for row in figures["rows"]]
    return Report([], [Table(head, rows, f"Engine {figures['parameters']['engine']}:")])


SCENARIO = Scenario("A photograph of 12 megapixels, by min_face_size", METHOD, run, report)
