"""What came of a picture, as it is written: with how the picture is known again, and with its files."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cli.detect.pictures import Key, Outcome, PictureFile, Problem


@dataclass(frozen=True, slots=True)
class Record:
    """A line of a result.

    Attributes:
        picture: What was searched.
        outcome: What came of it, without pictures: those are files.
        annotated: The file with the faces drawn in, if one was written.
    """

    picture: PictureFile
    outcome: Outcome
    annotated: Path | None = None


def to_json(record: Record) -> str:
    """A line of NDJSON, in ASCII: what /predict answers, or `problem`, and `path`, `size` and `modified`."""
    from utils.detection_json import detection_document  # noqa: PLC0415 - not before a command runs

    path, size, modified = record.picture.key
    document: dict[str, Any] = {"path": path, "size": size, "modified": modified}
    if isinstance(record.outcome, Problem):
        document["problem"] = asdict(record.outcome)
    else:
        document |= detection_document(record.outcome)
    if record.annotated is not None:
        document["annotated"] = str(record.annotated)
    return json.dumps(document, default=asdict, separators=(",", ":")) + "\n"


def from_json(line: bytes) -> tuple[Key, bool]:
    """How the picture of a line is known again, and whether its faces were found.

    Raises:
        ValueError: It is no such line.
    """
    match json.loads(line):
        case {
            "path": str(path),
            "size": int() | None as size,
            "modified": str() | None as modified,
            **others,
        }:
            return (path, size, modified), "problem" not in others
        case _:
            raise ValueError("it has no path, size and modified")


def without_pictures(outcome: Outcome) -> Outcome:
    """A detection without the pictures that came with it."""
    if isinstance(outcome, Problem):
        return outcome
    faces = tuple(replace(face, crop=None) for face in outcome.faces)
    return replace(outcome, faces=faces, annotated=None)
