"""The forms in which results are written: a head, then the lines of each picture."""

import csv
import io
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields

from cli.detect.pictures import Problem
from cli.detect.records import Record, to_json
from cli.text import one_line
from utils.domain import Face, Landmarks

_MARKS = [mark.name for mark in fields(Landmarks)]
_COLUMNS = [
    *("path", "size", "modified", "reason", "detail", "width", "height", "faces", "face"),
    *("left", "top", "right", "bottom", "confidence"),
    *(f"{mark}_{axis}" for mark in _MARKS for axis in "xy"),
]


@dataclass(frozen=True, slots=True)
class Format:
    """A form of results.

    Attributes:
        head: What comes before all.
        lines: Those of a picture.
        encoding: Of both.
        errors: What becomes of characters that this lacks.
    """

    head: str
    lines: Callable[[Record], str]
    encoding: str = "utf-8"
    errors: str = "backslashreplace"


def _table(record: Record) -> str:
    """The path comes last, so that columns are aligned however long it is."""
    path, outcome = record.picture.path, record.outcome
    if isinstance(outcome, Problem):
        cells, rest = ("-", "-", "-"), f"{path}: {outcome.reason}: {outcome.detail}"
    else:
        image = outcome.image
        milliseconds = f"{outcome.timings.total_ms - outcome.timings.queue_ms:.0f}"
        cells = (str(len(outcome.faces)), f"{image.width} x {image.height}", milliseconds)
        rest = path
    return one_line(_row(*cells, rest)) + "\n"


def _row(faces: str, size: str, milliseconds: str, rest: str) -> str:
    return f"{faces:>5}  {size:>13}  {milliseconds:>6}  {rest}"


def _csv(record: Record) -> str:
    """A row for each face; for a picture without faces, or with a problem, one row that says so."""
    key, outcome = record.picture.key, record.outcome
    if isinstance(outcome, Problem):
        return _csv_rows([[*key, outcome.reason, outcome.detail]])
    known: list[object] = [*key, "", "", outcome.image.width, outcome.image.height, len(outcome.faces)]
    rows: list[list[object]] = [
        [*known, number, *_numbers(face)] for number, face in enumerate(outcome.faces, 1)
    ]
    return _csv_rows(rows or [known])


def _numbers(face: Face) -> list[str]:
    """Those of a face, in the order of the columns, with the digits that a float32 holds."""
    (left, top), (right, bottom) = astuple(face.box)
    marks = [value for mark in astuple(face.landmarks) for value in mark]
    return [f"{value:.9g}" for value in (left, top, right, bottom, face.confidence, *marks)]


def _csv_rows(rows: list[list[object]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([*row, *[""] * (len(_COLUMNS) - len(row))] for row in rows)
    return file.getvalue()


FORMATS = {
    "table": Format(_row("FACES", "SIZE", "MS", "PATH") + "\n", _table),
    "ndjson": Format("", to_json, "ascii", "strict"),
    # Names of files are bytes, and come out as they are.
    "csv": Format(_csv_rows([[*_COLUMNS]]), _csv, "utf-8", "surrogateescape"),
}
