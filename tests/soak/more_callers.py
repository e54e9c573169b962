"""Callers that send several pictures at once, or want more than the faces, and compare all that they get."""

import base64
import http.client
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from tests.soak.endpoints import Answer, GrpcCaller, HttpCaller, of_error, refusal
from tests.soak.identities import Account
from tests.soak.photos import of_domain, of_json
from tests.support.batches import KIND, PATH, batch, file
from utils.domain import Detection
from utils.errors import FacetError

_PICTURES = 2
"""That are sent at once."""
_NO_PICTURE = b"no picture"


class BatchCaller(HttpCaller):
    """A client of the gateway that sends pictures, and something else, in one form."""

    content_type = KIND

    def __init__(self, address: str, account: Account, *, patient: bool = False) -> None:
        super().__init__(address, account, PATH, patient=patient)

    def _body(self, picture: bytes) -> bytes:
        return batch(*map(file, [*_pictures(picture), _NO_PICTURE]))

    def _read(self, picture: bytes, response: http.client.HTTPResponse, *, repeated: bool) -> Answer:
        if response.status != 200:
            return super()._read(picture, response, repeated=repeated)
        *items, last = map(json.loads, response.read().splitlines())
        self._count(response)
        items.sort(key=lambda item: item["index"])
        if not last.get("done") or [item["index"] for item in items] != [*range(_PICTURES + 1)]:
            return Answer(trouble=f"the batch ends with {last}", repeated=repeated)
        if items[-1]["status"] == 200:
            return Answer(wrong="faces in what is no picture", repeated=repeated)
        if items[-1]["status"] == 415:
            items.pop()
        found = map(_of_item, items, [*_pictures(picture), _NO_PICTURE])
        return replace(_worst(found), repeated=repeated)


class StreamCaller(GrpcCaller):
    """A service that sends pictures over one stream."""

    def ask(self, picture: bytes) -> Answer:
        pictures = _pictures(picture)
        outcomes = self._client.detect_many(pictures, timeout_named=self._patient)
        return _worst(_of_outcome(outcome, pictures[number]) for number, outcome in outcomes)


class AnnotatedCaller(HttpCaller):
    """A client of the gateway that wants all there is beside the faces, and the annotated picture again."""

    def __init__(self, address: str, account: Account, *, patient: bool = False) -> None:
        path = "/predict?include=quality,crops,annotated&crop_max=1"
        super().__init__(address, account, path, patient=patient)
        self._drawing = _Drawing(address, account, patient=patient)

    def _found(self, picture: bytes, said: dict[str, Any]) -> Answer:
        results = said["results"]
        cut = sum("crop" in face for face in results)
        if cut != min(len(results), 1) or cut + said["crops_omitted"] != len(results):
            return Answer(wrong=f"{cut} crops of {len(results)} faces, {said['crops_omitted']} omitted")
        if not all("quality" in face for face in results):
            return Answer(wrong="a face without quality")
        drawn = self._drawing.ask(picture)
        if drawn.faces is not None and self._drawing.picture != (
            len(results),
            base64.b64decode(said["annotated"]["data"]),
        ):
            return Answer(wrong="another annotated picture")
        return Answer(of_json(results)) if drawn.faces is not None else drawn

    def close(self) -> None:
        super().close()
        self._drawing.close()


class _Drawing(HttpCaller):
    """Asks for the annotated picture alone, and keeps the last one, behind how many faces there were."""

    picture: tuple[int, bytes] = 0, b""

    def __init__(self, address: str, account: Account, *, patient: bool) -> None:
        super().__init__(address, account, "/predict/annotated", patient=patient)

    def _read(self, picture: bytes, response: http.client.HTTPResponse, *, repeated: bool) -> Answer:
        if response.status != 200:
            return super()._read(picture, response, repeated=repeated)
        self.picture = int(response.headers["X-Facet-Faces"]), response.read()
        self._count(response)
        return Answer((), repeated=repeated)


def _pictures(picture: bytes) -> list[bytes]:
    """Pictures that look the same, of which each is another."""
    return [picture, *(picture + b"-%d" % number for number in range(1, _PICTURES))]


def _of_item(item: dict[str, Any], picture: bytes) -> Answer:
    if item["status"] == 200:
        return Answer(of_json(item["results"]))
    problem = item["problem"]
    return refusal(item["status"], problem, says_when="retry_after" in problem, picture=picture)


def _of_outcome(outcome: Detection | FacetError, picture: bytes) -> Answer:
    if isinstance(outcome, Detection):
        return Answer(of_domain(outcome.faces))
    return replace(of_error(outcome), picture=picture)


def _worst(answers: Iterable[Answer]) -> Answer:
    """What is said of pictures that look the same: that which went wrong, if anything did."""
    taken = sorted(answers, key=lambda one: (one.faces is not None, one.refused or one.gone))
    first, *others = taken
    if first.faces is not None and any(one.faces != first.faces for one in others):
        return Answer(wrong=f"different faces in the same picture: {[one.faces for one in taken]}")
    return first
