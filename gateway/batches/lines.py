"""What comes of a batch as lines of JSON: one for each picture, and a last one."""

from typing import Any

import orjson

from utils.detection_json import detection_document
from utils.domain import Detection
from utils.errors import FacetError
from utils.problems import members, retry_after

_FOUND = 200


def found(index: int, name: str, detection: Detection) -> bytes:
    """The line of a picture whose faces are known: where it is in the batch, and the answer of /predict."""
    return orjson.dumps({"index": index, "name": name, "status": _FOUND, **detection_document(detection)})


def failed(index: int, name: str, failure: FacetError, request_id: str) -> bytes:
    """The line of a picture that failed: the status and the problem that /predict would have answered with.

    What there is a header field for is a member of the problem: `retry_after`, in seconds.
    """
    problem = _problem(failure, request_id)
    return orjson.dumps({"index": index, "name": name, "status": failure.http_status, "problem": problem})


def last(*, ok: int, failed: int, seconds: float, failure: FacetError | None, request_id: str) -> bytes:
    """The last line: `done` says whether all of the batch was answered, else `problem` why not."""
    counts = {"ok": ok, "failed": failed, "seconds": round(seconds, 3)}
    if failure is None:
        return orjson.dumps({"done": True, **counts})
    return orjson.dumps({"done": False, "problem": _problem(failure, request_id), **counts})


def _problem(failure: FacetError, request_id: str) -> dict[str, Any]:
    document = members(failure, request_id)
    if failure.retry_after is not None:
        document["retry_after"] = retry_after(failure.retry_after)
    return document
