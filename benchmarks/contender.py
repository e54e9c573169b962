"""The process of one contender: `python -m benchmarks.contender NAME`, started by benchmarks.arena.

    task (a line of JSON) ─► picture, drawn or decoded ─► detection, timed ─► a line of JSON

The first line that it writes is its version, or why it is unavailable. A task has `draw` (name, width and
height of a drawing) or `file`. With `stages` the answer says what the engine's stages took; with `only_draw`
nothing is detected, and the drawing is kept for later.
"""

import json
import os
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.contenders import build
from benchmarks.contest import Contender, Unavailable
from benchmarks.drawings import DRAWINGS
from benchmarks.ours import Facet
from inference_server.images import decode
from inference_server.supervision.processes import die_with_parent
from tests.support.pictures import Pixels

_MAX_PIXELS = 200_000_000


@lru_cache(maxsize=256)
def _drawn(name: str, width: int, height: int) -> Pixels:
    """A drawing; the same ones come again and again."""
    return DRAWINGS[name](width, height)


def _picture(task: dict[str, Any]) -> Pixels:
    return (
        _drawn(*task["draw"]) if "draw" in task else decode(Path(task["file"]).read_bytes(), _MAX_PIXELS)[0]
    )


def _answer(contender: Contender, task: dict[str, Any]) -> dict[str, Any]:
    picture = contender.taken(_picture(task))
    if task.get("only_draw"):
        return {}
    ours = contender if isinstance(contender, Facet) and task.get("stages") else None
    detect = ours.in_stages if ours else contender.detect
    cpu, started = time.process_time(), time.perf_counter()
    result = detect(picture)
    seconds = time.perf_counter() - started
    answer = {"seconds": seconds, "cpu_seconds": time.process_time() - cpu, "faces": contender.faces(result)}
    return {**answer, **ours.seen(picture)} if ours else answer


def main() -> None:
    """Answer until there are no more tasks."""
    die_with_parent(os.getppid())
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    try:
        contender = build(sys.argv[1])
    except Unavailable as error:
        print(json.dumps({"unavailable": str(error)}), file=answers, flush=True)
        return
    print(json.dumps({"version": contender.version}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(contender, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
